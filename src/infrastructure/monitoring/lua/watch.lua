-- watch: note that somebody looks for silent workers now, and return those not heard of lately.
-- When nobody looked for a while (all instances were down), the watch begins anew: its own absence is no worker's silence.
-- ARGV: source, longest pause between two looks (ms), how long a worker may be silent before it is returned (ms), how many
-- Reply: { now, watching since, { worker id, last heard (ms) ... } }
local last = tonumber(redis.call('HGET', mon('meta'), 'watched_at') or '')
if not last or now - last > tonumber(ARGV[2]) then
  redis.call('HSET', mon('meta'), 'watching_since', whole(now))
end
redis.call('HSET', mon('meta'), 'watched_at', whole(now))
local before = whole(now - tonumber(ARGV[3]))
local silent = redis.call('ZRANGEBYSCORE', mon('heard'), '-inf', before, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
return { whole(now), redis.call('HGET', mon('meta'), 'watching_since'), silent }
