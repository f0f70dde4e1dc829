-- change_policy: make, replace or take away one alert rule or silence, if it is still as it was read. The version that every
-- step of an alert is compared with grows, and all alerts that are open, or of which a resolve is owed, are looked at again.
-- ARGV: source, hash, id, as read ('' = none), as it is to be ('' = none), topic, event data, how many there may be
-- Reply: how many there are then, -1 when it is no longer as it was read, or one more than there may be
local entries, id, most = mon(ARGV[2]), ARGV[3], tonumber(ARGV[8])
local found = redis.call('HGET', entries, id) or ''
if found ~= ARGV[4] then
  return -1
end
if found == '' and redis.call('HLEN', entries) >= most then
  return most + 1
end
if ARGV[5] == '' then
  redis.call('HDEL', entries, id)
else
  redis.call('HSET', entries, id, ARGV[5])
end
change_policy()
emit(ARGV[6], ARGV[7])
record()
return redis.call('HLEN', entries)
