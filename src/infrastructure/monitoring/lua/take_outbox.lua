-- take_outbox: lease the next message of each lane that is due. A lane's messages go out one after another, in order; its
-- lease hides it from the other instances, and ends by itself if this one dies.
-- ARGV: source, how many lanes, lease (ms)
-- Reply: { { lane, token, tries so far, message } ... }
local reply = {}
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', mon('outbox_due'), '-inf', whole(now), 'LIMIT', 0, ARGV[2])) do
  local message = redis.call('LINDEX', mon('outbox', lane), 0)
  if message then
    local tries = redis.call('HINCRBY', mon('outbox_tries'), lane, 1)
    local token = whole(redis.call('INCR', mon('outbox_token')))
    redis.call('HSET', mon('outbox_leases'), lane, token)
    redis.call('ZADD', mon('outbox_due'), whole(now + tonumber(ARGV[3])), lane)
    reply[#reply + 1] = { lane, token, tries, message }
  else
    redis.call('ZREM', mon('outbox_due'), lane)
  end
end
return reply
