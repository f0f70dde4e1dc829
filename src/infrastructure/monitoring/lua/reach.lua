-- reach: count how the regions are reached in which looks fail. A worker that was not looked at for long counts no more.
-- ARGV: source, for how long a look counts (ms)
-- Reply: { region, how many fail, how many do not ... }
local reply, oldest = {}, '(' .. whole(now - tonumber(ARGV[2]))
for _, region in ipairs(redis.call('SMEMBERS', mon('regions_failing'))) do
  redis.call('ZREMRANGEBYSCORE', mon('looks_ok', region), '-inf', oldest)
  reply[#reply + 1] = region
  reply[#reply + 1] = redis.call('ZCARD', mon('looks_failed', region))
  reply[#reply + 1] = redis.call('ZCARD', mon('looks_ok', region))
end
return reply
