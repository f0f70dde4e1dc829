-- Instances that are gone are remembered for a while: how, when, and what they last said.
local GONE_KEPT, GONE_KEPT_MS = 100, 24 * 3600 * 1000

local function forget(id)
  redis.call('ZREM', PREFIX .. 'gone', id)
  return redis.call('HDEL', PREFIX .. 'departed', id)
end

-- Take an instance out of the living. `why` is 'stopped' or 'vanished'; who is not among the living is left alone.
local function depart(id, why)
  local announcement = redis.call('HGET', PREFIX .. 'instances', id)
  local seen = redis.call('ZSCORE', PREFIX .. 'beats', id)
  redis.call('HDEL', PREFIX .. 'instances', id)
  redis.call('ZREM', PREFIX .. 'beats', id)
  redis.call('DEL', PREFIX .. 'batch:' .. id)
  if not announcement then return end
  redis.call('HSET', PREFIX .. 'departed', id,
    '{"why":' .. quote(why) .. ',"last_seen":' .. int(tonumber(seen or NOW)) .. ',"announcement":' .. announcement .. '}')
  redis.call('ZADD', PREFIX .. 'gone', int(NOW), id)
  emit('instance.left', '{"why":' .. quote(why) .. ',' .. string.sub(announcement, 2))
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'gone', '-inf', int(NOW - GONE_KEPT_MS), 'LIMIT', 0, 100)) do
    forget(old)
  end
  for _, old in ipairs(redis.call('ZRANGE', PREFIX .. 'gone', 0, -GONE_KEPT - 1)) do forget(old) end
end
