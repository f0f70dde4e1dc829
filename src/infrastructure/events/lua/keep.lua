#!lua flags=allow-oom
-- Say that entries are still being worked on, so that nobody reclaims them.
-- KEYS: stream. ARGV: group, member, entry ids in the order of the stream.
-- Returns the ids that are not this member's any more: it was taken for dead, and another has them.
local key, group, member = KEYS[1], ARGV[1], ARGV[2]
local mine, kept, gone = {}, {}, {}
for _, row in ipairs(redis.call('XPENDING', key, group, ARGV[3], ARGV[#ARGV], 10000, member)) do mine[row[1]] = true end
for i = 3, #ARGV do
  local list = mine[ARGV[i]] and kept or gone
  list[#list + 1] = ARGV[i]
end
if #kept > 0 then
  kept[#kept + 1] = 'JUSTID'
  redis.call('XCLAIM', key, group, member, 0, unpack(kept))
end
return gone
