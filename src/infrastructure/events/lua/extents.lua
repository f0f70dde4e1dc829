#!lua flags=no-writes
-- Tell what streams hold, without shipping their first and last entries to the client.
-- KEYS: streams. Returns for each {last id, first id or '', length, entries ever added}; {'0-0', '', 0, 0} if absent.
local answer = {}
for i, key in ipairs(KEYS) do
  answer[i] = { '0-0', '', 0, 0 }
  if redis.call('EXISTS', key) == 1 then
    local flat, info = redis.call('XINFO', 'STREAM', key), {}
    for n = 1, #flat, 2 do info[flat[n]] = flat[n + 1] end
    local first = info['first-entry']
    answer[i] = { info['last-generated-id'], first and first[1] or '', info['length'], info['entries-added'] }
  end
end
return answer
