-- What all scripts share. In front of this text stand, written by infrastructure/runs/scripts.py:
--   PREFIX SOURCE    the key prefix (KEYS[1]) and the calling instance (ARGV[1])
--   ALLOWED          the status transitions of domain.runs.run, e.g. ALLOWED['queued>running']
--   EVENTS_KEPT HISTORY_KEPT DONE_KEPT DONE_TTL_MS      retention
--   emit             publishes an event
-- Specs, data, states and tokens are opaque strings here.
local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)
local NOW_US = TIME[1] * 1000000 + TIME[2]

local LONGEST_ENDING = 16384

local function int(x) return string.format('%.0f', x) end
local function quote(x) return cjson.encode(x) end
local function run_key(id) return PREFIX .. 'run:' .. id end

local RUN_FIELDS = { 'status', 'token', 'owner', 'job', 'lane', 'tag', 'attempt', 'retries', 'reason', 'corr', 'trace',
  'order', 'takeovers', 'held', 'started' }

local function load(id)
  local values = redis.call('HMGET', run_key(id), unpack(RUN_FIELDS))
  if not values[1] then return nil end
  local run = { id = id }
  for i, field in ipairs(RUN_FIELDS) do run[field] = values[i] or nil end
  run.attempt, run.retries = tonumber(run.attempt or 0), tonumber(run.retries or 0)
  return run
end

local function move(run, status)
  if not ALLOWED[run.status .. '>' .. status] then
    error('a run that is ' .. run.status .. ' cannot become ' .. status)
  end
  run.status = status
  redis.call('HSET', run_key(run.id), 'status', status)
end

-- `more` is '' or JSON members with a leading comma.
local function announce(topic, run, more)
  local data = '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"instance_id":' .. quote(run.owner or SOURCE) .. more .. '}'
  emit(topic, data, run.corr, run.trace)
end

local function count(job, changes, facts)
  if redis.call('HEXISTS', PREFIX .. 'states', job) == 0 then return end
  local text = redis.call('HGET', PREFIX .. 'stats', job)
  local stats = text and cjson.decode(text) or {}
  for name, n in pairs(changes) do stats[name] = (stats[name] or 0) + n end
  for name, value in pairs(facts or {}) do stats[name] = value end
  redis.call('HSET', PREFIX .. 'stats', job, cjson.encode(stats))
end

local function make_ready(id, lane, order)
  redis.call('ZADD', PREFIX .. 'ready:' .. lane, order, id)
end

-- Let the next waiting run of a schedule go, as one has just left its place.
local function release_next(job)
  local id = redis.call('LPOP', PREFIX .. 'backlog:' .. job)
  if not id then return 0 end
  redis.call('HDEL', run_key(id), 'held')
  local lane = redis.call('HGET', run_key(id), 'lane')
  if not lane then return 0 end
  make_ready(id, lane, NOW)
  return 1
end

-- A long result stays in the event alone: twenty of them a schedule would be more history than state.
local function remember(run, ended)
  if #ended > LONGEST_ENDING then ended = '' end
  local key = PREFIX .. 'history:' .. run.job
  redis.call('LPUSH', key, '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"status":' .. quote(run.status) ..
    ',"started_at":' .. (run.started or 'null') .. ',"ended_at":' .. int(NOW) .. ',"instance":' ..
    (run.owner and quote(run.owner) or 'null') .. ended .. '}')
  redis.call('LTRIM', key, 0, HISTORY_KEPT - 1)
end

local function retain(run, ended)
  local key = run_key(run.id)
  redis.call('HDEL', key, 'owner', 'order', 'held')
  redis.call('HSET', key, 'ended', int(NOW), 'ending', '{' .. string.sub(ended, 2) .. '}')
  redis.call('ZREM', PREFIX .. 'oneshots', run.id)
  local done = PREFIX .. 'done'
  redis.call('ZADD', done, int(NOW), run.id)
  local old = redis.call('ZRANGEBYSCORE', done, '-inf', int(NOW - DONE_TTL_MS), 'LIMIT', 0, 100)
  local surplus = redis.call('ZCARD', done) - DONE_KEPT
  if #old == 0 and surplus > 0 then old = redis.call('ZRANGE', done, 0, math.min(surplus, 100) - 1) end
  for _, id in ipairs(old) do
    redis.call('ZREM', done, id)
    redis.call('DEL', run_key(id))
  end
end

-- End a run: `status` is terminal, `ended` JSON members with a leading comma (error, result, why).
local function finish(run, status, topic, ended)
  move(run, status)
  redis.call('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  redis.call('ZREM', PREFIX .. 'ready:' .. run.lane, run.id)
  redis.call('ZREM', PREFIX .. 'later', run.id)
  redis.call('SREM', PREFIX .. 'active:' .. run.job, run.id)
  redis.call('HDEL', PREFIX .. 'parked', run.id)
  announce(topic, run, ended)
  if run.reason == 'one_shot' then
    retain(run, ended)
    return 0
  end
  redis.call('DEL', run_key(run.id))
  if redis.call('HEXISTS', PREFIX .. 'states', run.job) == 1 then remember(run, ended) end
  if run.held then
    redis.call('LREM', PREFIX .. 'backlog:' .. run.job, 1, run.id)
    return 0
  end
  return release_next(run.job)
end

local function create(id, job, lane, reason, tag, spec, data, corr, trace, more)
  local key = run_key(id)
  redis.call('HSET', key, 'tag', tag, 'spec', spec, 'data', data, 'job', job, 'lane', lane, 'reason', reason,
    'status', 'queued', 'attempt', 0, 'retries', 0, 'queued', int(NOW))
  if corr and corr ~= '' then redis.call('HSET', key, 'corr', corr) end
  if trace and trace ~= '' then redis.call('HSET', key, 'trace', trace) end
  redis.call('SADD', PREFIX .. 'active:' .. job, id)
  announce('job.queued', { id = id, tag = tag, attempt = 0, corr = corr, trace = trace }, more or '')
end

local function enqueue(id, lane, order)
  redis.call('HSET', run_key(id), 'order', order)
  make_ready(id, lane, order)
end

local function hold(id, job, order, in_front)
  redis.call('HSET', run_key(id), 'order', order, 'held', '1')
  redis.call(in_front and 'LPUSH' or 'RPUSH', PREFIX .. 'backlog:' .. job, id)
end

-- Set a run aside with its reason: it is never claimed, never deleted, and goes on when a person resumes it.
local function park(run, why)
  redis.call('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  move(run, 'queued')
  redis.call('HDEL', run_key(run.id), 'owner')
  redis.call('HSET', PREFIX .. 'parked', run.id, why)
  announce('job.parked', run, ',"why":' .. quote(why))
end

-- Any call of an executing instance proves that the store is reachable. After a silence of all of them longer than half
-- a lease nobody is overtaken for one lease, so that owners can renew first.
local function beat(lease_ms)
  local meta = PREFIX .. 'meta'
  local seen = redis.call('HMGET', meta, 'last_beat', 'no_takeover_until')
  local last, quiet_until = tonumber(seen[1] or 0), tonumber(seen[2] or 0)
  if NOW - last > lease_ms / 2 then
    quiet_until = NOW + lease_ms
    redis.call('HSET', meta, 'no_takeover_until', int(quiet_until))
  end
  redis.call('HSET', meta, 'last_beat', int(NOW))
  return quiet_until
end
