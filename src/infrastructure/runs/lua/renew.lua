-- renew: prolong the leases of all runs of an instance, announce the instance, and tell it what it has lost.
-- ARGV: instance, lease_ms, announcement, then run id, lane, token ...
-- Reply: { now, lost run ids }
local lease, lost = tonumber(ARGV[2]), {}
beat(lease)
local joined = redis.call('HSET', PREFIX .. 'instances', SOURCE, ARGV[3])
redis.call('ZADD', PREFIX .. 'beats', int(NOW), SOURCE)
if joined == 1 then emit('instance.joined', ARGV[3]) end
for i = 4, #ARGV, 3 do
  local id, lane, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = redis.call('HMGET', run_key(id), 'status', 'owner', 'token')
  if held[1] == 'running' and held[2] == SOURCE and held[3] == token then
    redis.call('ZADD', PREFIX .. 'leases:' .. lane, int(NOW + lease), id)
  else
    lost[#lost + 1] = id
  end
end
return { int(NOW), lost }
