-- settle_outbox: end the lease of a lane: its message is done with, or is tried again later.
-- ARGV: source, lane, token, delay until the next try (ms, '' = done)
-- Reply: 1, or 0 when the lease is no longer this one
local lane = ARGV[2]
if redis.call('HGET', mon('outbox_leases'), lane) ~= ARGV[3] then
  return 0
end
redis.call('HDEL', mon('outbox_leases'), lane)
if ARGV[4] ~= '' then
  redis.call('ZADD', mon('outbox_due'), whole(now + tonumber(ARGV[4])), lane)
  return 1
end
redis.call('LPOP', mon('outbox', lane))
redis.call('HDEL', mon('outbox_tries'), lane)
if redis.call('LLEN', mon('outbox', lane)) > 0 then
  redis.call('ZADD', mon('outbox_due'), whole(now), lane)
else
  redis.call('ZREM', mon('outbox_due'), lane)
end
return 1
