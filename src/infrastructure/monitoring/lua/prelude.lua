-- Shared by the scripts of monitoring. `now` is the store's time in ms; times go back to Redis as whole numbers.
local function mon(...)
  return PREFIX .. 'mon:' .. table.concat({ ... }, ':')
end
local function whole(number)
  return string.format('%.0f', number)
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
-- What decides on alerts has changed: steps made under the old version are refused, and every alert that is
-- open, or of which a resolve is owed, is due.
local function change_policy()
  redis.call('INCR', mon('policy'))
  for _, worker in ipairs(redis.call('ZRANGE', mon('alerts_due'), 0, -1)) do
    redis.call('ZADD', mon('alerts_due'), whole(now), worker)
  end
end
-- Looks at workers by provider's region: those whose last one succeeded, by time, and those whose last ones failed, by the time of
-- the first of these. `failed_in` says in which region a worker fails, so that most samples cost one lookup.
local function fails_no_more(id)
  local failed = redis.call('HGET', mon('failed_in'), id)
  if failed then
    redis.call('HDEL', mon('failed_in'), id)
    redis.call('ZREM', mon('looks_failed', failed), id)
  end
end
local function look_succeeded(id, region)
  redis.call('ZADD', mon('looks_ok', region), whole(now), id)
  fails_no_more(id)
end
local function forget_looks(id, region)
  redis.call('ZREM', mon('looks_ok', region), id)
  fails_no_more(id)
end
local function region_of(text)
  local worker = cjson.decode(text)
  return worker.provider .. '~' .. (type(worker.region) == 'string' and worker.region or '')
end
