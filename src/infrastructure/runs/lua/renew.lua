-- renew: prolong the leases of all runs of an instance, and tell it what it has lost.
-- ARGV: instance, lease_ms, then run id, lane, token ...
-- Reply: { now, lost run ids }
local lease, lost = tonumber(ARGV[2]), {}
beat(lease)
for i = 3, #ARGV, 3 do
  local id, lane, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = redis.call('HMGET', run_key(id), 'status', 'owner', 'token')
  if held[1] == 'running' and held[2] == SOURCE and held[3] == token then
    redis.call('ZADD', PREFIX .. 'leases:' .. lane, int(NOW + lease), id)
  else
    lost[#lost + 1] = id
  end
end
return { int(NOW), lost }
