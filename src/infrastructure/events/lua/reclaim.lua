#!lua flags=allow-oom
-- Take over what members left unacknowledged for too long: they died, or their answer got lost.
-- KEYS: stream. ARGV: group, member, idle ms, most entries.
-- Returns for each {id, its fields, deliveries with this one, who had it}; fields are '' if it was trimmed.
--
-- Entries that were delivered once are taken together. One that was reclaimed before may be what killed its member, so
-- such are taken alone: it must not spend the tries of its neighbours.
local key, group, member, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[4])
local rows = redis.call('XPENDING', key, group, 'IDLE', ARGV[3], '-', '+', math.max(most, 100))
local chosen = {}
for _, row in ipairs(rows) do
  if row[4] <= 1 and #chosen < most then chosen[#chosen + 1] = row end
end
if #chosen == 0 then chosen[1] = rows[1] end
local answer = {}
for i, row in ipairs(chosen) do
  local claimed = redis.call('XCLAIM', key, group, member, 0, row[1])[1]
  answer[i] = { row[1], claimed and claimed[2] or '', row[4] + 1, row[2] }
end
return answer
