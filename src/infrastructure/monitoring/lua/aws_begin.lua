-- aws_begin: take what is wanted of a region, and what will be while a look at it would still be fresh.
-- ARGV: source, group, owner, lease (ms), fresh for (ms), at most so many
-- Reply: { now, id, seen before (JSON, '' = never) ... }, or {} when the lease is not this owner's
local group, fresh, limit = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local due, wanted, flight = mon('aws_due', group), mon('aws_wanted', group), mon('aws_flight', group)
if redis.call('GET', mon('aws_lease', group)) ~= ARGV[3] then
  return {}
end
redis.call('PEXPIRE', mon('aws_lease', group), ARGV[4])
local asked, company = mon('aws_asked', group), mon('aws_company', group)
local reply, taken = { whole(now) }, {}
local function take(id, is_asked)
  if taken[id] then
    return
  end
  local seen = redis.call('GET', mon('aws_seen', group, id))
  local at, text
  if seen then
    at, text = string.match(seen, '^(%d+) (.*)$')
  end
  -- What is asked for has waited; what only will be needs no look while the last one is fresh.
  if is_asked or not at or tonumber(at) <= now - fresh then
    taken[id] = true
    redis.call('SADD', flight, id)
    reply[#reply + 1] = id
    reply[#reply + 1] = text or ''
  end
end
-- Who has asked is expected a whole interval later, and so is not among these.
local soon = redis.call('ZRANGEBYSCORE', due, whole(now - fresh), whole(now + fresh * 0.8), 'LIMIT', 0, limit)
for _, id in ipairs(redis.call('SPOP', wanted, limit)) do
  take(id, true)
end
for _, id in ipairs(soon) do
  if redis.call('ZREM', due, id) == 1 and #reply <= 2 * limit then
    take(id, false)
  end
end
-- Nobody could expect a fleet that was started at some moment, and then follows its rhythm; and not all of its runs have
-- slots at once. So who asked last when those of now did, within seconds, is looked at with them; but for who is known to
-- ask at another time.
for _, moment in ipairs(redis.call('SMEMBERS', company)) do
  local from = (tonumber(moment) - 1) * 5000
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', asked, whole(from), whole(from + 14999), 'LIMIT', 0, limit)) do
    if not redis.call('ZSCORE', due, id) and #reply <= 2 * limit then
      take(id, false)
    end
  end
end
redis.call('DEL', company)
redis.call('PEXPIRE', flight, ARGV[4])
return reply
