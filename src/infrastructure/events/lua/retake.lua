#!lua flags=allow-oom
-- Take up again what this member failed to handle, if it still is this member's.
-- KEYS: stream. ARGV: group, member, entry ids.
-- Returns for each entry that is ours {id, its fields, deliveries with this one}; fields are '' if it was trimmed.
local key, group, member = KEYS[1], ARGV[1], ARGV[2]
local answer = {}
for i = 3, #ARGV do
  local row = redis.call('XPENDING', key, group, ARGV[i], ARGV[i], 1)[1]
  if row and row[2] == member then
    local claimed = redis.call('XCLAIM', key, group, member, 0, ARGV[i])[1]
    answer[#answer + 1] = { ARGV[i], claimed and claimed[2] or '', row[4] + 1 }
  end
end
return answer
