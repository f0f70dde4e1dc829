-- settle_outbox: end leases of lanes, each by itself: the messages of a lane are done with ('sent', 'refused', 'expired'), are
-- tried again later ('again'), or go again at once, half of them first ('split'); and note how the channel is, and what became
-- of the message.
-- A channel that failed often enough in a row is left alone for a while, doubling; one that answered is well. Tries that were
-- under way when such a rest began are of the failure that it began with, and change nothing of it.
-- ARGV: source, how long a circuit is open at first (ms), and at most, least time between two messages of a lane (ms), deliveries
--       kept, for how long (ms); then of each lane: channel, lane, token, how, delay until the next try (ms), failures in a row
--       that open the circuit, for how long the receiver wants no more (ms), why it failed, id of the delivery, delivery (JSON)
-- Reply: for each lane 1, or 0 when the lease is no longer this one
local first_ms, longest_ms, interval_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept, kept_ms, COMMON, EACH = tonumber(ARGV[5]), tonumber(ARGV[6]), 6, 10

local function settle(channel, lane, token, how, delay_ms, limit, hold_ms, why, id, delivery)
  local name, circuit = lane_of(channel, lane), mon('circuit', channel)
  local is_mine = redis.call('HGET', mon('outbox_leases'), name) == token
  if is_mine or how == 'sent' then
    note_delivery(id, delivery, kept, kept_ms)
  end
  if not is_mine then
    return 0
  end
  redis.call('HDEL', mon('outbox_leases'), name)

  local due = now + delay_ms
  if how == 'sent' or how == 'refused' or how == 'split' then
    redis.call('HDEL', circuit, 'failures', 'until', 'opened', 'rests_since', 'probing', 'failing_since', 'why')
  else
    local is_news = tonumber(token) > tonumber(redis.call('HGET', circuit, 'rests_since') or '0')
    local rest = hold_ms
    redis.call('HSETNX', circuit, 'failing_since', whole(now))
    redis.call('HSET', circuit, 'why', why)
    if is_news then
      local failures = redis.call('HINCRBY', circuit, 'failures', 1)
      if redis.call('HDEL', circuit, 'probing') == 1 then
        redis.call('HDEL', circuit, 'until')
      end
      if failures >= limit then
        redis.call('HSETNX', circuit, 'opened', whole(now))
        redis.call('HSET', circuit, 'rests_since', redis.call('GET', mon('outbox_token')))
        rest = math.max(rest, math.min(longest_ms, first_ms * 2 ^ math.min(failures - limit, 30)))
      end
    end
    if rest > 0 then
      due = math.max(now + rest, tonumber(redis.call('HGET', circuit, 'until') or '0'))
      redis.call('HSET', circuit, 'until', whole(due))
    end
  end
  local size = tonumber(redis.call('HGET', mon('outbox_sizes'), name) or '1')
  if how == 'split' then
    redis.call('HSET', mon('outbox_sizes'), name, math.max(math.floor(size / 2), 1))
    redis.call('HDEL', mon('outbox_tries'), name)
  end
  if how == 'again' or how == 'split' then
    redis.call('ZADD', mon('outbox_due', channel), whole(due), lane)
    return 1
  end
  if how == 'sent' then
    redis.call('HSET', circuit, 'sent_at', whole(now))
    redis.call('HDEL', circuit, 'given_up_at', 'given_up')
  else
    redis.call('HSET', circuit, 'given_up_at', whole(now), 'given_up', why)
  end

  redis.call('LTRIM', mon('outbox', name), size, -1)
  redis.call('HDEL', mon('outbox_tries'), name)
  redis.call('HDEL', mon('outbox_sizes'), name)
  if redis.call('HINCRBY', mon('outbox_waiting'), channel, -size) <= 0 then
    redis.call('HDEL', mon('outbox_waiting'), channel)
  end
  if interval_ms > 0 then
    redis.call('ZADD', mon('outbox_sent'), whole(now), name)
    local old = redis.call('ZRANGEBYSCORE', mon('outbox_sent'), '-inf', whole(now - interval_ms), 'LIMIT', 0, 100)
    if #old > 0 then
      redis.call('ZREM', mon('outbox_sent'), unpack(old))
    end
  end
  local head = redis.call('LINDEX', mon('outbox', name), 0)
  if head then
    local joined, not_before = parts_of(head)
    redis.call('ZADD', mon('outbox_since', channel), whole(joined), lane)
    redis.call('ZADD', mon('outbox_due', channel), whole(when_due(name, not_before, 0, interval_ms)), lane)
  else
    redis.call('ZREM', mon('outbox_since', channel), lane)
    redis.call('ZREM', mon('outbox_due', channel), lane)
  end
  return 1
end

local reply = {}
for at = COMMON, #ARGV - EACH, EACH do
  local channel, lane, token, how, delay_ms, limit, hold_ms, why, id, delivery = unpack(ARGV, at + 1, at + EACH)
  reply[#reply + 1] = settle(channel, lane, token, how, tonumber(delay_ms), tonumber(limit), tonumber(hold_ms), why, id, delivery)
end
return reply
