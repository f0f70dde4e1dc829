-- What all scripts share. In front of this text stand, written by infrastructure/runs/scripts.py:
--   PREFIX SOURCE    the key prefix (KEYS[1]) and the calling instance (ARGV[1])
--   ALLOWED          the status transitions of domain.runs.run, e.g. ALLOWED['queued>running']
--   EVENTS_KEPT HISTORY_KEPT DONE_KEPT DONE_TTL_MS      retention
--   emit             publishes an event
-- Specs, data, states and tokens are opaque strings here. After each script stands `flush()`.
local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)
local NOW_US = TIME[1] * 1000000 + TIME[2]

local LONGEST_ENDING = 16384
local LONGEST_LEASE_MS = 300000
local STORY_KEPT = 20
-- Trimmed seldom: so many more than are shown.
local HISTORY_SLACK = 10
local CHUNK = 1000

local function int(x) return string.format('%.0f', x) end
local function quote(x) return cjson.encode(x) end
local NOW_TEXT = int(NOW)
local function run_key(id) return PREFIX .. 'run:' .. id end

-- '<ms>' or '<ms>@<deadline>': a duration, and until when (ms) somebody waits for the answer. A server that was frozen reads
-- what was sent to it long ago: what its caller has given up then hides and claims nothing. Returns nil for such a call.
local function unless_late(text)
  local ms, deadline = string.match(text, '^(%d+)@?(%d*)$')
  if deadline ~= '' and NOW > tonumber(deadline) then return nil end
  return tonumber(ms)
end

-- A command from Lua costs about 3 us, one more member of a command a tenth of that: what many runs of one call write
-- into the same key is gathered, and written when the script ends. Nothing reads such a key after gathering into it.
local gathered, dropped = {}, {}
local function gather(command, key, a, b)
  local name = command .. ' ' .. key
  local list = gathered[name]
  if not list then
    list = { command = command, key = key }
    gathered[name] = list
  end
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

-- Call `use` with parts of a list that fit on Lua's stack.
local function in_chunks(list, use)
  for i = 1, #list, CHUNK do use(i, math.min(i + CHUNK - 1, #list)) end
end

-- Read many fields of one hash: field -> value, false for what is not there.
local function fetch(key, fields)
  local found = {}
  in_chunks(fields, function(i, j)
    local values = redis.call('HMGET', key, unpack(fields, i, j))
    for n = i, j do found[fields[n]] = values[n - i + 1] end
  end)
  return found
end

local RUN_FIELDS = { 'status', 'token', 'owner', 'job', 'lane', 'tag', 'attempt', 'retries', 'reason', 'corr', 'trace',
  'order', 'held', 'started' }

local ended = {}
local function load(id)
  if ended[id] then return nil end
  local values = redis.call('HMGET', run_key(id), unpack(RUN_FIELDS))
  if not values[1] then return nil end
  local run = { id = id }
  for i, field in ipairs(RUN_FIELDS) do run[field] = values[i] or nil end
  run.attempt, run.retries = tonumber(run.attempt or 0), tonumber(run.retries or 0)
  return run
end

-- Change the status, which the table must allow, and more fields of the run with it.
local function move(run, status, ...)
  if not ALLOWED[run.status .. '>' .. status] then
    error('a run that is ' .. run.status .. ' cannot become ' .. status)
  end
  run.status = status
  redis.call('HSET', run_key(run.id), 'status', status, ...)
end

-- `more` is '' or JSON members with a leading comma.
local function announce(topic, run, more)
  local data = '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"instance_id":' .. quote(run.owner or SOURCE) .. more .. '}'
  emit(topic, data, run.corr, run.trace)
end

-- Counters belong to one incarnation of a schedule, which the ids of its runs name: incarnations grow with time. A run of
-- an older one counts nowhere. Returns whether the run belongs to the schedule as it stands.
local stats_of = {}
local function stats_for(job)
  local stats = stats_of[job]
  if stats == nil then
    local text = redis.call('HGET', PREFIX .. 'stats', job)
    stats = text and cjson.decode(text) or redis.call('HEXISTS', PREFIX .. 'states', job) == 1 and {}
    stats_of[job] = stats
  end
  return stats
end

local function count(run_id, job, changes, facts)
  local incarnation = string.match(run_id, '@([^.]*)')
  local stats = incarnation and stats_for(job)
  if not stats or (stats.incarnation and incarnation < stats.incarnation) then return false end
  if stats.incarnation ~= incarnation then
    stats = { incarnation = incarnation }
    stats_of[job] = stats
  end
  for name, n in pairs(changes) do stats[name] = (stats[name] or 0) + n end
  for name, value in pairs(facts) do stats[name] = value end
  stats.changed = true
  return true
end

local function write_stats()
  for job, stats in pairs(stats_of) do
    if stats and stats.changed then
      stats.changed = nil
      gather('HSET', PREFIX .. 'stats', job, cjson.encode(stats))
    end
  end
end

-- Read the counters of many schedules in one command.
local function prepare_stats(jobs)
  for job, text in pairs(fetch(PREFIX .. 'stats', jobs)) do
    if text and stats_of[job] == nil then stats_of[job] = cjson.decode(text) end
  end
end

local function make_ready(id, lane, order)
  redis.call('ZADD', PREFIX .. 'ready:' .. lane, order, id)
end

-- Count the runs of a schedule that have a place: all that are not over and do not wait for others.
local function places_taken(job)
  local taken = 0
  for _, id in ipairs(redis.call('SMEMBERS', PREFIX .. 'active:' .. job)) do
    local run = redis.call('HMGET', run_key(id), 'status', 'held')
    if run[1] and not run[2] and not ended[id] then taken = taken + 1 end
  end
  return taken
end

-- Let the next waiting run of a schedule go, if there is a place: the limit may be lower than when the last one went.
local function release_next(job)
  local backlog = PREFIX .. 'backlog:' .. job
  if redis.call('EXISTS', backlog) == 0 then return 0 end
  if places_taken(job) >= tonumber(redis.call('HGET', PREFIX .. 'limits', job) or 1) then return 0 end
  local id = redis.call('LPOP', backlog)
  redis.call('HDEL', run_key(id), 'held')
  local lane = redis.call('HGET', run_key(id), 'lane')
  if not lane then return 0 end
  make_ready(id, lane, NOW)
  return 1
end

-- A long result stays in the event alone: twenty of them a schedule would be more history than state.
local function remember(run, ending)
  if #ending > LONGEST_ENDING then ending = '' end
  local key = PREFIX .. 'history:' .. run.job
  local kept = redis.call('LPUSH', key, '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"status":' .. quote(run.status) ..
    ',"started_at":' .. (run.started or 'null') .. ',"ended_at":' .. NOW_TEXT .. ',"instance":' ..
    (run.owner and quote(run.owner) or 'null') .. ending .. '}')
  if kept >= HISTORY_KEPT + HISTORY_SLACK then redis.call('LTRIM', key, 0, HISTORY_KEPT - 1) end
end

local function retain(run, ending)
  local key = run_key(run.id)
  redis.call('HDEL', key, 'owner', 'order', 'held')
  redis.call('HSET', key, 'status', run.status, 'ended', NOW_TEXT, 'ending', '{' .. string.sub(ending, 2) .. '}')
  redis.call('ZREM', PREFIX .. 'oneshots', run.id)
  local done = PREFIX .. 'done'
  redis.call('ZADD', done, NOW_TEXT, run.id)
  local old = redis.call('ZRANGEBYSCORE', done, '-inf', int(NOW - DONE_TTL_MS), 'LIMIT', 0, 100)
  local surplus = redis.call('ZCARD', done) - DONE_KEPT
  if #old == 0 and surplus > 0 then old = redis.call('ZRANGE', done, 0, math.min(surplus, 100) - 1) end
  for _, id in ipairs(old) do
    redis.call('ZREM', done, id)
    redis.call('DEL', run_key(id))
  end
end

-- End a run: `status` is terminal, `ending` JSON members with a leading comma (error, result, why), `facts` what the
-- schedule's statistics say of its last run. Returns how many other runs that made ready.
local function finish(run, status, topic, ending, facts)
  if not ALLOWED[run.status .. '>' .. status] then
    error('a run that is ' .. run.status .. ' cannot become ' .. status)
  end
  local was = run.status
  run.status = status
  if was == 'running' then
    gather('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  else
    gather('ZREM', PREFIX .. 'ready:' .. run.lane, run.id)
    gather('ZREM', PREFIX .. 'later', run.id)
  end
  gather('HDEL', PREFIX .. 'parked', run.id) -- one that executes may be marked too, as nobody else knew it
  redis.call('SREM', PREFIX .. 'active:' .. run.job, run.id)
  announce(topic, run, ending)
  if run.reason == 'one_shot' then
    retain(run, ending)
    return 0
  end
  ended[run.id] = true
  dropped[#dropped + 1] = run_key(run.id)
  facts.last_outcome, facts.last_ended = facts.last_outcome or status, NOW
  if count(run.id, run.job, { [status] = 1 }, facts) then remember(run, ending) end
  if run.held then
    redis.call('LREM', PREFIX .. 'backlog:' .. run.job, 1, run.id)
    return 0
  end
  return release_next(run.job)
end

-- Make a run. The last arguments are more fields for it, `more` JSON members for its first event.
local function create(run, more, ...)
  redis.call('HSET', run_key(run.id), 'tag', run.tag, 'spec', run.spec, 'data', run.data, 'job', run.job, 'lane', run.lane,
    'reason', run.reason, 'queued', NOW_TEXT, ...)
  if run.corr and run.corr ~= '' then redis.call('HSET', run_key(run.id), 'corr', run.corr) end
  if run.trace and run.trace ~= '' then redis.call('HSET', run_key(run.id), 'trace', run.trace) end
  redis.call('SADD', PREFIX .. 'active:' .. run.job, run.id)
  run.attempt = 0
  announce('job.queued', run, more)
end

local QUEUED = { 'status', 'queued', 'attempt', 0, 'retries', 0 }

local function create_ready(run, more, order)
  create(run, more, 'order', order, unpack(QUEUED))
  gather('ZADD', PREFIX .. 'ready:' .. run.lane, order, run.id)
end

-- Let a run wait for others of its schedule.
local function create_held(run, more, order, in_front)
  create(run, more, 'order', order, 'held', '1', unpack(QUEUED))
  redis.call(in_front and 'LPUSH' or 'RPUSH', PREFIX .. 'backlog:' .. run.job, run.id)
end

-- What became of the attempts that did not settle a run, for who has to find out why.
local function tell_story(run, how)
  local stored = redis.call('HGET', run_key(run.id), 'story')
  local story = stored and cjson.decode(stored) or {}
  story[#story + 1] = { attempt = run.attempt, instance = run.owner, started_at = tonumber(run.started), ended_at = NOW, error = how }
  if #story > STORY_KEPT then table.remove(story, 1) end
  local text = cjson.encode(story)
  redis.call('HSET', run_key(run.id), 'story', text)
  return text
end

-- Set a run aside with its reason: it is never claimed, never deleted, and goes on when a person resumes it.
local function park(run, why, more)
  redis.call('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  move(run, 'queued')
  redis.call('HDEL', run_key(run.id), 'owner')
  redis.call('HSET', PREFIX .. 'parked', run.id, why)
  announce('job.parked', run, ',"why":' .. quote(why) .. more)
end

-- Any call of an executing instance proves that the store is reachable. After a silence of all of them longer than half
-- a lease nobody is overtaken for one lease, so that owners can renew first. The same where the store's clock was put
-- back, as a fail-over may do: what was written by the old clock says nothing.
local function beat(lease_ms)
  local meta = PREFIX .. 'meta'
  local seen = redis.call('HMGET', meta, 'last_beat', 'no_takeover_until')
  local last, quiet_until = tonumber(seen[1] or 0), tonumber(seen[2] or 0)
  if NOW - last > lease_ms / 2 or last - NOW > lease_ms then
    quiet_until = NOW + lease_ms
    redis.call('HSET', meta, 'last_beat', NOW_TEXT, 'no_takeover_until', int(quiet_until))
  else
    redis.call('HSET', meta, 'last_beat', NOW_TEXT)
  end
  return quiet_until
end

-- Write what was gathered. Whatever a script did before it failed has happened, so this follows then too.
local function flush()
  write_stats()
  for _, list in pairs(gathered) do
    in_chunks(list, function(i, j) redis.call(list.command, list.key, unpack(list, i, j)) end)
  end
  in_chunks(dropped, function(i, j) redis.call('DEL', unpack(dropped, i, j)) end)
end
