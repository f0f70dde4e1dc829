-- renew: prolong the leases of all runs of an instance, tell it what it has lost, and note what it says of itself.
-- ARGV: instance, lease_ms, announcement, layout, then run id, lane, token ...
-- Reply: { seconds, microseconds, as announce.lua says or why that failed, lost run ids }
local lease, lost = tonumber(ARGV[2]), {}
beat(lease)
for i = 5, #ARGV, 3 do
  local id, lane, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = redis.call('HMGET', run_key(id), 'status', 'owner', 'token')
  if held[1] == 'running' and held[2] == SOURCE and held[3] == token then
    redis.call('ZADD', PREFIX .. 'leases:' .. lane, int(NOW + lease), id)
  else
    lost[#lost + 1] = id
  end
end
-- The leases hold, whatever is wrong with the list of instances.
local done, heard = pcall(appear, lease, ARGV[3], ARGV[4])
if not done then heard = type(heard) == 'table' and heard.err or tostring(heard) end
return { TIME[1], TIME[2], heard, lost }
