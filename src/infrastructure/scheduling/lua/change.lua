-- change: make, change, pause, resume, park or remove one schedule, if its state is still the expected one.
-- ARGV: instance, id, expected state ('' = none), new state ('' = remove), definition ('' = keep), old lane ('' = none),
--       lane, look ('' = not due), topic, event data, why
-- Reply: { 'ok' | 'stale', current state, current definition, executing runs }
local id, expected, state, definition = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old_lane, lane, look, topic, data, why = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local current = redis.call('HGET', PREFIX .. 'states', id) or ''
if current ~= expected then
  return { 'stale', current, redis.call('HGET', PREFIX .. 'schedules', id) or '', {} }
end
if expected == '' and redis.call('ZSCORE', PREFIX .. 'oneshots', id) then
  return { 'oneshot', '', '', {} }
end
local running = {}
if state == '' then
  remove(id, old_lane)
  running = cancel_waiting(id, why)
else
  if old_lane ~= '' and old_lane ~= lane then redis.call('ZREM', PREFIX .. 'due:' .. old_lane, id) end
  if definition ~= '' then redis.call('HSET', PREFIX .. 'schedules', id, definition) end
  write(id, state, lane, look)
  redis.call('SADD', PREFIX .. 'lanes', lane)
end
emit(topic, data)
redis.call('PUBLISH', PREFIX .. 'wake', 'due')
return { 'ok', state, definition, running }
