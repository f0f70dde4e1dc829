#!lua
-- Set an entry aside for a person, and acknowledge it.
-- KEYS: stream, parked stream. ARGV: group, id, most parked ones kept, family, reason, tries, then the entry's own fields.
-- Returns 1, or 0 when it was not the group's to handle any more. Ours come last: the last of two equal names counts.
-- A store that is out of memory refuses this script whole; it must not acknowledge what it cannot set aside.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
local fields = {}
for i = 7, #ARGV do fields[#fields + 1] = ARGV[i] end
for i, name in ipairs({ '_group', '_id', '', '_family', '_reason', '_tries' }) do
  if name ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[i]
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
