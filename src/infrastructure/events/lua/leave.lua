#!lua flags=allow-oom
-- Give back all that a member holds, ready to be reclaimed at once, and delete the member if it held nothing.
-- KEYS: stream. ARGV: group, member, idle ms that count as abandoned, ids that were tried and failed.
-- What was not tried gets its delivery back. Returns how many entries were given back.
local key, group, member, idle = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local tried = {}
for i = 4, #ARGV do tried[ARGV[i]] = true end
local rows = redis.call('XPENDING', key, group, '-', '+', 10000, member)
for _, row in ipairs(rows) do
  local count = tried[row[1]] and row[4] or math.max(row[4] - 1, 0)
  redis.call('XCLAIM', key, group, member, 0, row[1], 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')
end
if #rows == 0 then redis.call('XGROUP', 'DELCONSUMER', key, group, member) end
return #rows
