-- reach: count how the regions are reached in which looks fail. A worker that was not looked at for long counts no
-- more; a thousand of them are forgotten a call.
-- ARGV: source, for how long a look counts (ms)
-- Reply: { region, how many fail, how many do not ... }
local reply, oldest = {}, '(' .. whole(now - tonumber(ARGV[2]))
for _, region in ipairs(redis.call('SMEMBERS', mon('regions_failing'))) do
  local old = redis.call('ZRANGEBYSCORE', mon('looks_ok', region), '-inf', oldest, 'LIMIT', 0, 1000)
  if #old > 0 then redis.call('ZREM', mon('looks_ok', region), unpack(old)) end
  reply[#reply + 1] = region
  reply[#reply + 1] = redis.call('ZCARD', mon('looks_failed', region))
  reply[#reply + 1] = redis.call('ZCARD', mon('looks_ok', region))
end
return reply
