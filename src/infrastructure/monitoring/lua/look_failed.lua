-- look_failed: note that a look at a worker failed, unless a later one succeeded, or the worker is gone.
-- ARGV: source, worker id, provider's region, when it failed (ms)
-- Reply: 1, or 0 when it is old news
local id, region, failed_at = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HEXISTS', mon('workers'), id) == 0 then
  return 0
end
local ok = redis.call('ZSCORE', mon('looks_ok', region), id)
if ok and tonumber(ok) > failed_at then
  return 0
end
redis.call('ZREM', mon('looks_ok', region), id)
redis.call('ZADD', mon('looks_failed', region), 'NX', ARGV[4], id)
redis.call('HSET', mon('failed_in'), id, region)
redis.call('SADD', mon('regions_failing'), region)
return 1
