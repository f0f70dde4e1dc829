-- aws_ask: return what was seen of some instances lately, and want the rest; take the lease of the region if nobody has it.
-- When an instance is asked for again and again, it is noted when it will be next, so that who fetches then fetches it too.
-- ARGV: source, group, owner, lease (ms), fresh for (ms), '1' = may fetch, number of new ids, new ids ..., ids ...
-- Reply: { 1 = this owner has just got the lease, for how long (ms) no id came that nobody expected now, id, seen (JSON) ... }
local group, owner, fresh, count = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[7])
local asked, due, wanted, flight = mon('aws_asked', group), mon('aws_due', group), mon('aws_wanted', group), mon('aws_flight', group)
local stranger, company = mon('aws_stranger', group), mon('aws_company', group)
for i = 8, 7 + count do
  local before = redis.call('ZSCORE', asked, ARGV[i])
  redis.call('ZADD', asked, whole(now), ARGV[i])
  local expected = tonumber(redis.call('ZSCORE', due, ARGV[i]) or '0')
  if (expected < now - fresh or expected > now + fresh * 0.8) and redis.call('SISMEMBER', flight, ARGV[i]) == 0 then
    redis.call('SET', stranger, whole(now), 'PX', 60000)
    -- Who asked when this one did is likely to ask again now.
    if before and now - tonumber(before) >= fresh then
      redis.call('SADD', company, whole(math.floor(tonumber(before) / 5000)))
      redis.call('PEXPIRE', company, 10000)
    end
  end
  if before and now - tonumber(before) >= fresh then
    redis.call('ZADD', due, whole(2 * now - tonumber(before)), ARGV[i])
  end
end
local reply, missing = { 0, now - tonumber(redis.call('GET', stranger) or '0') }, 0
for i = 8 + count, #ARGV do
  local seen = redis.call('GET', mon('aws_seen', group, ARGV[i]))
  local at, text
  if seen then
    at, text = string.match(seen, '^(%d+) (.*)$')
  end
  if at and tonumber(at) > now - fresh then
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = text
  else
    missing = missing + 1
    if redis.call('SISMEMBER', flight, ARGV[i]) == 0 then
      redis.call('SADD', wanted, ARGV[i])
    end
  end
end
if missing > 0 and redis.call('EXISTS', wanted) == 1 then
  redis.call('PEXPIRE', wanted, 60000)
  if ARGV[6] == '1' and redis.call('SET', mon('aws_lease', group), owner, 'PX', ARGV[4], 'NX') then
    reply[1] = 1
  end
end
-- Who has not asked for two hours will not soon.
redis.call('ZREMRANGEBYSCORE', asked, '-inf', whole(now - 7200000))
redis.call('ZREMRANGEBYSCORE', due, '-inf', whole(now - fresh))
if count > 0 then
  redis.call('PEXPIRE', asked, 7200000)
  redis.call('PEXPIRE', due, 7200000)
end
return reply
