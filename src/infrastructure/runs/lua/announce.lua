-- announce: an instance that executes nothing says that it is here; who executes says so as it renews.
-- ARGV: instance, lease_ms, announcement (a JSON object that begins with "id"), layout that the program knows
-- Reply: { seconds, microseconds, { 'new' | 'back' (it had been declared gone) | 'known', layout of the store } }
return { TIME[1], TIME[2], appear(tonumber(ARGV[2]), ARGV[3], ARGV[4]) }
