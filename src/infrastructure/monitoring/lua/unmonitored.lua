-- unmonitored: look at some workers with alerts, and return those that have no schedule. It changes nothing.
-- ARGV: source, how many to pass over, how many to look at
-- Reply: { how many were looked at, worker id ... }
local first = tonumber(ARGV[2])
local found = redis.call('ZRANGE', mon('alerts_due'), first, first + tonumber(ARGV[3]) - 1)
local reply = { #found }
for _, id in ipairs(found) do
  if redis.call('HEXISTS', PREFIX .. 'states', 'worker-metrics-' .. id) == 0 then
    reply[#reply + 1] = id
  end
end
return reply
