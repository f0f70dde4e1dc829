-- renew: prolong the leases of all runs of an instance, tell it what it has lost, and note what it says of itself.
-- ARGV: instance, lease_ms, announcement, layout, then run id, lane, token ...
-- Reply: { seconds, microseconds, as announce.lua says or why that failed, lost run ids }
local lease, lost, ids = tonumber(ARGV[2]), {}, {}
beat(lease)
for i = 5, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
load_all(ids)
for i = 5, #ARGV, 3 do
  local id, lane, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local run = load(id)
  if run and run.status == 'running' and run.owner == SOURCE and run.token == token then
    gather('ZADD', PREFIX .. 'leases:' .. lane, int(NOW + lease), id)
  else
    lost[#lost + 1] = id
  end
end
-- The leases hold, whatever is wrong with the list of instances.
local done, heard = pcall(appear, lease, ARGV[3], ARGV[4])
if not done then heard = type(heard) == 'table' and heard.err or tostring(heard) end
return { TIME[1], TIME[2], heard, lost }
