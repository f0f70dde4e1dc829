-- commit_alerts: store steps of workers' alerts, each whole or not at all: if nobody else made one since they were read, with
-- its events and the messages that are to be sent.
-- ARGV: source, how many steps, and of each:
--       worker id, version as read, version of rules, silences and regions that are down as read,
--       time of the last sample evaluated (ms, '' = as it was), '1' to close for good,
--       look at (ms, '' = nothing is open or owed; what only an observation can change is far ahead),
--       of a provider's region 'down' or 'up', of a worker '',
--       '' or JSON { open = { { alert id, record ('' = no longer open) } ... }, history = { record ... },
--                    events = { { topic, data } ... }, outbox = { { alert id, '1' for its last message, message,
--                    ms before which it does not go, { { channel, lane } ... } } ... }, wait_ms, interval_ms (of the outbox) },
--       how many states, { rule id, state ('' = forgotten) } ...
-- Reply: for each 'done', 'stale' or 'gone' (the worker is, so that only closing is left)
local function refuse(worker, version, policy, is_closing, is_down)
  if not is_closing and is_down == '' and redis.call('HEXISTS', mon('workers'), worker) == 0 then
    return 'gone'
  end
  if
    (redis.call('HGET', mon('alerts', worker), '.version') or '0') ~= version
    or (redis.call('GET', mon('policy')) or '0') ~= policy
  then
    return 'stale'
  end
end
local function store_states(worker, cursor, first, count)
  local book = mon('alerts', worker)
  redis.call('HINCRBY', book, '.version', 1)
  local kept = cursor ~= '' and { '.cursor', cursor } or {}
  for n = first, first + 2 * count - 1, 2 do
    if ARGV[n + 1] == '' then
      redis.call('HDEL', book, ARGV[n])
    else
      kept[#kept + 1] = ARGV[n]
      kept[#kept + 1] = ARGV[n + 1]
    end
  end
  for n = 1, #kept, 1000 do
    redis.call('HSET', book, unpack(kept, n, math.min(n + 999, #kept)))
  end
end
local function note_when(worker, look_at, is_down)
  if look_at == '' then
    redis.call('ZREM', mon('alerts_due'), worker)
  else
    redis.call('ZADD', mon('alerts_due'), look_at, worker)
  end
  if is_down == 'down' then
    if redis.call('HSETNX', mon('regions_down'), worker, whole(now)) == 1 then change_policy() end
  elseif is_down == 'up' then
    if redis.call('HDEL', mon('regions_down'), worker) == 1 then change_policy() end
  end
end
local function tell(work)
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
end

local replies, at = {}, 3
for n = 1, tonumber(ARGV[2]) do
  local worker, version, policy, cursor, closing, look_at, is_down, work, count = unpack(ARGV, at, at + 8)
  local is_closing = closing == '1'
  count, at = tonumber(count), at + 9
  replies[n] = refuse(worker, version, policy, is_closing, is_down) or 'done'
  if replies[n] == 'done' then
    if is_closing then
      redis.call('UNLINK', mon('alerts', worker))
      redis.call('SREM', mon('orphans'), worker)
    else
      store_states(worker, cursor, at, count)
    end
    note_when(worker, look_at, is_down)
    if work ~= '' then
      tell(cjson.decode(work))
    end
    record()
  end
  at = at + 2 * count
end
return replies
