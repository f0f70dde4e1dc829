-- announce: an instance of any role says that it is here; who has been silent for ten leases is declared gone.
-- ARGV: instance, lease_ms, announcement (a JSON object that begins with "id"), layout that the program knows
-- Reply: { 'new' | 'back' (it had been declared gone) | 'known', layout of the store, instances }
local lease, announcement = tonumber(ARGV[2]), ARGV[3]
local meta = PREFIX .. 'meta'
local SILENT_LEASES = 10

-- Who is silent beside a store that answers nobody is not to blame: after a silence of all, one lease passes first.
local function may_declare()
  local seen = redis.call('HMGET', meta, 'last_announced', 'nobody_gone_until')
  local last, quiet_until = tonumber(seen[1] or 0), tonumber(seen[2] or 0)
  if NOW - last > lease or last - NOW > lease then
    quiet_until = NOW + lease
    redis.call('HSET', meta, 'nobody_gone_until', int(quiet_until))
  end
  redis.call('HSET', meta, 'last_announced', int(NOW))
  return NOW >= quiet_until
end

-- An instance with a longer lease may be silent for longer.
local function is_gone(id, silent_ms)
  local text = redis.call('HGET', PREFIX .. 'instances', id)
  local its_lease = text and cjson.decode(text).lease_ms
  return silent_ms > SILENT_LEASES * (its_lease or lease)
end

local function declare_the_gone()
  local beats = PREFIX .. 'beats'
  local silent = redis.call('ZRANGEBYSCORE', beats, '-inf', '(' .. int(NOW - SILENT_LEASES * lease), 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #silent, 2 do
    if is_gone(silent[i], NOW - tonumber(silent[i + 1])) then depart(silent[i], 'vanished') end
  end
end

redis.call('HSETNX', meta, 'layout', ARGV[4])
local standing = 'known'
if redis.call('HSET', PREFIX .. 'instances', SOURCE, announcement) == 1 then
  standing = forget(SOURCE) == 1 and 'back' or 'new'
  emit('instance.joined', standing == 'back' and '{"back":true,' .. string.sub(announcement, 2) or announcement)
end
redis.call('ZADD', PREFIX .. 'beats', int(NOW), SOURCE)
if may_declare() then declare_the_gone() end
return { standing, redis.call('HGET', meta, 'layout'), redis.call('HLEN', PREFIX .. 'instances') }
