-- Who is here, and who is gone: those are remembered for a while, with how and when they went and what they last said.
local GONE_KEPT, GONE_KEPT_MS = 100, 24 * 3600 * 1000
local SILENT_LEASES = 10

local function forget(id)
  redis.call('ZREM', PREFIX .. 'gone', id)
  return redis.call('HDEL', PREFIX .. 'departed', id)
end

-- An instance offers slots for a second: what is submitted goes there at once, and need not be claimed. `takes`: its
-- lease (ms), then a line each for '<job>@<version>' without limits that it knows, and for '#<queue>' with limits.
local OFFER_MS = 1000

local OFFERS, OFFERED, TAKES = PREFIX .. 'offers', PREFIX .. 'offered', PREFIX .. 'takes'

local function offer(slots, takes)
  if slots < 1 then return redis.call('ZREM', OFFERS, SOURCE) end
  redis.call('ZADD', OFFERS, int(NOW + OFFER_MS), SOURCE)
  redis.call('HSET', OFFERED, SOURCE, int(slots))
  if redis.call('HGET', TAKES, SOURCE) ~= takes then redis.call('HSET', TAKES, SOURCE, takes) end
end

local function withdraw_offer(instance)
  redis.call('ZREM', OFFERS, instance)
  redis.call('HDEL', OFFERED, instance)
  redis.call('HDEL', TAKES, instance)
end

-- Who was handed what, told when all is written: { instance, { the time, and what a claim is told... } }
local handed = {}

local function tell_handed()
  for _, one in ipairs(handed) do redis.call('PUBLISH', PREFIX .. 'hand:' .. one[1], cjson.encode(one[2])) end
end

-- Find an instance that offers a slot for a lane, and listens; take that slot. Returns the instance and its lease, or nil.
local OFFERS_SEEN = 8
local function take_slot(lane)
  local base, _, queue = split_lane(lane)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', OFFERS, NOW_TEXT, '+inf', 'LIMIT', 0, OFFERS_SEEN)) do
    local takes = redis.call('HGET', TAKES, id) or ''
    if string.find(takes, '\n' .. base .. '\n', 1, true) and not string.find(takes, '\n#' .. queue .. '\n', 1, true) then
      if redis.call('HINCRBY', OFFERED, id, -1) <= 0 then redis.call('ZREM', OFFERS, id) end
      if redis.call('PUBSUB', 'NUMSUB', PREFIX .. 'hand:' .. id)[2] > 0 then return id, tonumber(string.match(takes, '^%d+')) end
      redis.call('ZREM', OFFERS, id)
    end
  end
end

-- Take an instance out of the living. `why` is 'stopped' or 'vanished'; who is not among the living is left alone.
local function depart(id, why)
  local announcement = redis.call('HGET', PREFIX .. 'instances', id)
  local seen = redis.call('ZSCORE', PREFIX .. 'beats', id)
  redis.call('HDEL', PREFIX .. 'instances', id)
  redis.call('ZREM', PREFIX .. 'beats', id)
  redis.call('DEL', PREFIX .. 'batch:' .. id)
  withdraw_offer(id)
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

-- Who is silent beside a store that answers nobody is not to blame: after a silence of all, one lease passes first.
local function may_declare(lease)
  local meta = PREFIX .. 'meta'
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
local function is_gone(id, silent_ms, lease)
  local text = redis.call('HGET', PREFIX .. 'instances', id)
  local its_lease = text and cjson.decode(text).lease_ms
  return silent_ms > SILENT_LEASES * (its_lease or lease)
end

local function declare_the_gone(lease)
  local beats = PREFIX .. 'beats'
  local silent = redis.call('ZRANGEBYSCORE', beats, '-inf', '(' .. int(NOW - SILENT_LEASES * lease), 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #silent, 2 do
    if is_gone(silent[i], NOW - tonumber(silent[i + 1]), lease) then depart(silent[i], 'vanished') end
  end
end

-- Note what an instance says of itself; who has been silent for ten leases is declared gone. The layout is written where
-- there is none: the store is new, or has lost its data.
local function appear(lease, announcement, layout)
  redis.call('HSETNX', PREFIX .. 'meta', 'layout', layout)
  local standing = 'known'
  if redis.call('HSET', PREFIX .. 'instances', SOURCE, announcement) == 1 then
    standing = forget(SOURCE) == 1 and 'back' or 'new'
    emit('instance.joined', standing == 'back' and '{"back":true,' .. string.sub(announcement, 2) or announcement)
  end
  redis.call('ZADD', PREFIX .. 'beats', int(NOW), SOURCE)
  if may_declare(lease) then declare_the_gone(lease) end
  return { standing, redis.call('HGET', PREFIX .. 'meta', 'layout') }
end
