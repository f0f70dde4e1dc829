-- Shared by the scripts of the outbox. A channel has lanes: the messages of one lane go out in order, one lot after another.
-- A message lies in its lane as "<ms when it joined> <ms before which it does not go> <JSON>". What is known of a lane is
-- under "<channel>:<lane>"; no channel has a colon in its name.
local function lane_of(channel, lane)
  return channel .. ':' .. lane
end
local function parts_of(entry)
  local joined, not_before, text = string.match(entry, '^(%d+) (%d+) (.*)$')
  return tonumber(joined), tonumber(not_before), text
end
local function when_due(name, earliest, wait_ms, interval_ms)
  local due = math.max(now + wait_ms, earliest)
  local sent = interval_ms > 0 and redis.call('ZSCORE', mon('outbox_sent'), name)
  return sent and math.max(due, tonumber(sent) + interval_ms) or due
end
local function enqueue(channel, lane, text, not_before, wait_ms, interval_ms)
  local name = lane_of(channel, lane)
  redis.call('RPUSH', mon('outbox', name), whole(now) .. ' ' .. whole(not_before) .. ' ' .. text)
  redis.call('HINCRBY', mon('outbox_waiting'), channel, 1)
  redis.call('ZADD', mon('outbox_since', channel), 'NX', whole(now), lane)
  local due = when_due(name, not_before, wait_ms, interval_ms)
  redis.call('ZADD', mon('outbox_due', channel), 'NX', whole(due), lane)
end
-- Keep what became of a message, by its id, from its first try on; what is too old or too much goes, a part with each call.
local function note_delivery(id, text, kept, kept_ms)
  redis.call('HSET', mon('deliveries'), id, whole(now) .. ' ' .. text)
  redis.call('ZADD', mon('delivery_times'), 'NX', whole(now), id)
  local old = redis.call('ZRANGEBYSCORE', mon('delivery_times'), '-inf', whole(now - kept_ms), 'LIMIT', 0, 100)
  local excess = redis.call('ZCARD', mon('delivery_times')) - kept
  if #old == 0 and excess > 0 then
    old = redis.call('ZRANGE', mon('delivery_times'), 0, math.min(excess, 100) - 1)
  end
  if #old > 0 then
    redis.call('ZREM', mon('delivery_times'), unpack(old))
    redis.call('HDEL', mon('deliveries'), unpack(old))
  end
end
