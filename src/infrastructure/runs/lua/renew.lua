-- renew: prolong the leases of all runs of an instance, announce the instance, and tell it what it has lost.
-- ARGV: instance, lease_ms, announcement, then run id, lane, token ...
-- Reply: { now, lost run ids }
local lease, lost = tonumber(ARGV[2]), {}
local quiet_until = beat(lease)
local joined = redis.call('HSET', PREFIX .. 'instances', SOURCE, ARGV[3])
redis.call('ZADD', PREFIX .. 'beats', int(NOW), SOURCE)
if joined == 1 then emit('instance.joined', ARGV[3]) end
-- What has been silent for ten leases, beside a store that was there, has left without saying so.
if NOW >= quiet_until then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'beats', '-inf', int(NOW - 10 * lease), 'LIMIT', 0, 100)) do
    local announcement = redis.call('HGET', PREFIX .. 'instances', gone)
    redis.call('ZREM', PREFIX .. 'beats', gone)
    redis.call('HDEL', PREFIX .. 'instances', gone)
    emit('instance.left', announcement or '{"id":' .. quote(gone) .. '}')
  end
end
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
