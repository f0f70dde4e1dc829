-- commit_alerts: store one step of a worker's alerts, if nobody else made one since they were read, with its events and
-- the messages that are to be sent.
-- ARGV: source, worker id, version as read, time of the last sample evaluated (ms, '' = as it was), '1' to close for good,
--       JSON { states = { { rule id, state } ... }, open = { { alert id, record ('' = no longer open) } ... },
--              history = { record ... }, events = { { topic, data } ... }, outbox = { { alert id, '1' for its last message, message,
--              ms before which it does not go, { { channel, lane } ... } } ... }, wait_ms, interval_ms (of the outbox),
--              look_at = ms ('' = nothing is open or owed; what only an observation can change is far ahead),
--              is_down = '1' or '' for a provider's region, nil for a worker },
--       version of rules, silences and regions that are down, as read
-- Reply: 'done', 'stale' or 'gone' (the worker is, so that only closing is left)
local worker, work = ARGV[2], cjson.decode(ARGV[6])
local book, is_closing = mon('alerts', worker), ARGV[5] == '1'
if not is_closing and not work.is_down and redis.call('HEXISTS', mon('workers'), worker) == 0 then
  return 'gone'
end
if (redis.call('HGET', book, '.version') or '0') ~= ARGV[3] or (redis.call('GET', mon('policy')) or '0') ~= ARGV[7] then
  return 'stale'
end

if is_closing then
  redis.call('UNLINK', book)
  redis.call('SREM', mon('orphans'), worker)
else
  redis.call('HINCRBY', book, '.version', 1)
  if ARGV[4] ~= '' then
    redis.call('HSET', book, '.cursor', ARGV[4])
  end
  for _, state in ipairs(work.states) do
    if state[2] == '' then
      redis.call('HDEL', book, state[1])
    else
      redis.call('HSET', book, state[1], state[2])
    end
  end
end
if work.look_at == '' then
  redis.call('ZREM', mon('alerts_due'), worker)
else
  redis.call('ZADD', mon('alerts_due'), work.look_at, worker)
end
if work.is_down == '1' then
  if redis.call('HSETNX', mon('regions_down'), worker, whole(now)) == 1 then change_policy() end
elseif work.is_down == '' then
  if redis.call('HDEL', mon('regions_down'), worker) == 1 then change_policy() end
end
for _, alert in ipairs(work.open) do
  if alert[2] == '' then
    redis.call('HDEL', mon('open_alerts'), alert[1])
  else
    redis.call('HSET', mon('open_alerts'), alert[1], alert[2])
  end
end
for _, record in ipairs(work.history) do
  redis.call('LPUSH', mon('alert_history'), record)
end
if #work.history > 0 then
  redis.call('LTRIM', mon('alert_history'), 0, HISTORY_KEPT - 1)
end
for _, event in ipairs(work.events) do
  emit(event[1], event[2])
end
-- Where an alert was told once, it is told to its end, in the same lane: whatever its severity, its worker's labels or the
-- settings are by then. So a resolve follows its firing.
for _, message in ipairs(work.outbox) do
  local alert, text, not_before = message[1], message[3], tonumber(message[4])
  local told = redis.call('HGET', mon('outbox_routes'), alert)
  local lanes = told and cjson.decode(told) or {}
  local is_over = message[2] == '1'
  if not (is_over and told) then
    for _, route in ipairs(message[5]) do
      lanes[route[1]] = lanes[route[1]] or route[2]
    end
  end
  for channel, lane in pairs(lanes) do
    enqueue(channel, lane, text, not_before, work.wait_ms, work.interval_ms)
  end
  if is_over then
    redis.call('HDEL', mon('outbox_routes'), alert)
  elseif next(lanes) then
    redis.call('HSET', mon('outbox_routes'), alert, cjson.encode(lanes))
  end
end
record()
return 'done'
