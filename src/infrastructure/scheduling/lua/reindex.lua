-- reindex: make the index of schedule ids anew, for lists.
-- ARGV: instance
redis.call('DEL', PREFIX .. 'ids')
local ids = redis.call('HKEYS', STATES)
for i = 1, #ids, CHUNK do
  local members = {}
  for n = i, math.min(i + CHUNK - 1, #ids) do
    members[#members + 1] = 0
    members[#members + 1] = ids[n]
  end
  redis.call('ZADD', PREFIX .. 'ids', unpack(members))
end
return 'ok'
