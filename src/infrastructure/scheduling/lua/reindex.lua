-- reindex: make the index of schedule ids anew, for lists.
-- ARGV: instance
redis.call('DEL', PREFIX .. 'ids')
local ids = redis.call('HKEYS', PREFIX .. 'states')
in_chunks(ids, function(i, j)
  local members = {}
  for n = i, j do
    members[#members + 1] = 0
    members[#members + 1] = ids[n]
  end
  redis.call('ZADD', PREFIX .. 'ids', unpack(members))
end)
return 'ok'
