-- take_outbox: lease the next messages of each lane of a channel that is due. A lane's lease hides it from the other
-- instances, and ends by itself if this one dies; whoever tries again gets the very messages of the first try. While the
-- channel's circuit is open nothing is taken, and then one lane, to see whether it is well again.
-- ARGV: source, channel, how many lanes, how many messages of each, lease (ms)
-- Reply: { { lane, token, tries so far, message ... } ... }
local channel, lanes, lease_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local circuit, reply = mon('circuit', channel), {}
local condition = redis.call('HMGET', circuit, 'until', 'opened')
if condition[1] and tonumber(condition[1]) > now then
  return reply
end
local due = redis.call('ZRANGEBYSCORE', mon('outbox_due', channel), '-inf', whole(now), 'LIMIT', 0,
  condition[2] and 1 or lanes)
for _, lane in ipairs(due) do
  local name = lane_of(channel, lane)
  local size = redis.call('HGET', mon('outbox_sizes'), name)
  local entries = redis.call('LRANGE', mon('outbox', name), 0, tonumber(size or ARGV[4]) - 1)
  local found, wait_until = {}, nil
  for _, entry in ipairs(entries) do
    local _, not_before, text = parts_of(entry)
    if not size and not_before > now then
      wait_until = not_before
      break
    end
    found[#found + 1] = text
  end
  if #found > 0 then
    local tries = redis.call('HINCRBY', mon('outbox_tries'), name, 1)
    local token = whole(redis.call('INCR', mon('outbox_token')))
    redis.call('HSET', mon('outbox_leases'), name, token)
    redis.call('HSET', mon('outbox_sizes'), name, #found)
    redis.call('ZADD', mon('outbox_due', channel), whole(now + lease_ms), lane)
    reply[#reply + 1] = { lane, token, tries, unpack(found) }
  elseif wait_until then
    redis.call('ZADD', mon('outbox_due', channel), whole(wait_until), lane)
  else
    redis.call('ZREM', mon('outbox_due', channel), lane)
    redis.call('ZREM', mon('outbox_since', channel), lane)
  end
end
if condition[2] and #reply > 0 then
  redis.call('HSET', circuit, 'until', whole(now + lease_ms), 'probing', '1')
end
return reply
