-- change: make, change, pause, resume, park or remove one schedule, if its state is still the expected one. A removal asks
-- only whether it is the same incarnation: whatever came between, it wins.
-- ARGV: instance, id, expected state ('' = none), new state ('' = remove), definition ('' = keep), old lane ('' = none),
--       lane, look ('' = not due), topic, event data, why, overlap limit ('' = keep),
--       withdrawn fires (late, and nobody will take them), the event that tells them
-- Reply: { 'ok' | 'stale' | 'oneshot', current state, current definition, executing runs }
local id, expected, state, definition = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old_lane, lane, look, topic, data, why, limit = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local HOLD_STILL_MS = 5000
local current = redis.call('HGET', STATES, id) or ''

-- A state without what a fire changes in it, and without the mark below.
local function but_for_fires(text)
  return (string.gsub(string.gsub(text, '"due":%d+', '', 1), ' $', ''))
end

-- A schedule that fires faster than its caller can read and write would refuse every change. So when only fires came
-- between, it holds still for the next try: the space makes the commit of a fire that is being planned match no more,
-- and no other is taken meanwhile. What is due then is late, and not lost.
local function hold_still()
  local due = PREFIX .. 'due:' .. old_lane
  if expected == '' or but_for_fires(current) ~= but_for_fires(expected) then return end
  if string.sub(current, -1) == ' ' or not redis.call('ZSCORE', due, id) then return end
  current = current .. ' '
  redis.call('HSET', STATES, id, current)
  redis.call('ZADD', due, 'GT', int(NOW + HOLD_STILL_MS), id)
end

local function is_expected()
  if state ~= '' or current == '' or expected == '' then return current == expected end
  return identity(current) == identity(expected)
end

if not is_expected() then
  hold_still()
  return { 'stale', current, redis.call('HGET', PREFIX .. 'schedules', id) or '', {} }
end
if expected == '' and redis.call('ZSCORE', PREFIX .. 'oneshots', id) then
  return { 'oneshot', '', '', {} }
end
-- Of a removal that came after more fires the count is not known; what is late then is so since a moment ago.
if tonumber(ARGV[13]) > 0 and current == expected then
  emit('schedule.fire_skipped', ARGV[14])
  if state ~= '' then count(id .. '@' .. identity(current), id, { missed = tonumber(ARGV[13]) }, {}) end
end
local running = {}
if state == '' then
  local _, _, known_lane = identity(current)
  remove(id, known_lane ~= '' and known_lane or old_lane)
  running = cancel_waiting(id, why)
else
  if old_lane ~= '' and old_lane ~= lane then redis.call('ZREM', PREFIX .. 'due:' .. old_lane, id) end
  if definition ~= '' then redis.call('HSET', PREFIX .. 'schedules', id, definition) end
  write(id, state, lane, look)
  redis.call('SADD', PREFIX .. 'lanes', lane)
  if expected == '' then
    redis.call('ZADD', PREFIX .. 'ids', 0, id)
    -- Runs of an older schedule of this id may be executing still: the counters say whose they are from the first moment.
    redis.call('HSET', PREFIX .. 'stats', id, '{"incarnation":' .. quote((identity(state))) .. '}')
  end
  local was = expected ~= '' and redis.call('HGET', PREFIX .. 'limits', id) or '1'
  if limit ~= '' and limit ~= was then keep_limit(id, tonumber(limit)) end
end
emit(topic, data)
record()
redis.call('PUBLISH', PREFIX .. 'wake', 'due')
return { 'ok', state, definition, running }
