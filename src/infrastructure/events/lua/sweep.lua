#!lua flags=allow-oom
-- Delete the members of a group that hold nothing and were not heard of for long: their processes are gone.
-- KEYS: stream. ARGV: group, the calling member, idle ms. Returns the names deleted.
local deleted = {}
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for n = 1, #flat, 2 do info[flat[n]] = flat[n + 1] end
  if info['pending'] == 0 and info['idle'] >= tonumber(ARGV[3]) and info['name'] ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info['name'])
    deleted[#deleted + 1] = info['name']
  end
end
return deleted
