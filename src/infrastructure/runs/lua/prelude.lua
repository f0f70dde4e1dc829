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

-- '<ms>' or '<ms>@<deadline>': a duration, and until when (ms) somebody waits for the answer. A server that was frozen reads
-- what was sent to it long ago: what its caller has given up then hides and claims nothing. Returns nil for such a call.
local function unless_late(text)
  local ms, deadline = string.match(text, '^(%d+)@?(%d*)$')
  if deadline ~= '' and NOW > tonumber(deadline) then return nil end
  return tonumber(ms)
end

-- A command from Lua costs about 3 us, one more member of a command a tenth of that: what many runs of one call write
-- into the same key is gathered, and written when the script ends. Nothing reads such a key after gathering into it.
local gathered = { HSET = {}, HDEL = {}, ZADD = {}, ZREM = {} }
local function gather(command, key, a, b)
  local lists = gathered[command]
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

-- The keys of one lane, or of one family: name -> the whole key.
local function keys_of(family)
  return setmetatable({}, { __index = function(keys, name)
    keys[name] = PREFIX .. family .. name
    return keys[name]
  end })
end
local KEY, LEASES, READY = keys_of(''), keys_of('leases:'), keys_of('ready:')

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

-- A run is one text in `runs`, whose lines infrastructure/runs/records.py reads too: what changes, then what does not. The
-- tag, its last and longest line, is cut off by its place: a pattern reads it letter by letter.
-- `more` is JSON of what few runs have: held, stopped, takeovers, error, story, progress, message, corr, trace, ended, ending.
local LINES = '^' .. string.rep('([^\n]*)\n', 8) .. '()[^\n]*\n' .. string.rep('([^\n]*)\n', 3) .. '()'

local function parse(id, text)
  local status, attempt, retries, token, owner, order, started, more, fixed, job, lane, reason, tag = string.match(text, LINES)
  if not tag then return false end -- somebody else wrote it
  return { id = id, status = status, attempt = tonumber(attempt), retries = tonumber(retries), token = token, owner = owner,
    order = order, started = started, more = more ~= '' and cjson.decode(more) or nil, fixed = string.sub(text, fixed),
    job = job, lane = lane, reason = reason, tag = string.sub(text, tag) }
end

local function text_of(run)
  local more = run.more and next(run.more) and cjson.encode(run.more) or ''
  return table.concat({ run.status, run.attempt, run.retries, run.token, run.owner, run.order, run.started, more, run.fixed }, '\n')
end

-- Runs are read once a call, changed here, and written when the script ends: id -> run, or false for what is not there.
local runs_read, changed, dropped = {}, {}, {}

local function load_all(ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if runs_read[id] == nil then
      runs_read[id] = false
      missing[#missing + 1] = id
    end
  end
  for id, text in pairs(fetch(KEY.runs, missing)) do runs_read[id] = text and parse(id, text) end
end

local function load(id)
  if runs_read[id] == nil then load_all({ id }) end
  return runs_read[id] or nil
end

local function touch(run) changed[run.id] = run end

local function noted(run, name) return run.more and run.more[name] end

-- Note one of the facts that few runs have; nil takes it away.
local function note(run, name, value)
  if value == nil and not run.more then return end
  run.more = run.more or {}
  run.more[name] = value
  touch(run)
end

-- Change the status, which the table must allow.
local function move(run, status)
  if not ALLOWED[run.status .. '>' .. status] then
    error('a run that is ' .. run.status .. ' cannot become ' .. status)
  end
  run.status = status
  touch(run)
end

-- `more` is '' or JSON members with a leading comma.
local function announce(topic, run, more)
  local data = '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"instance_id":' .. quote(run.owner ~= '' and run.owner or SOURCE) .. more .. '}'
  emit(topic, data, noted(run, 'corr'), noted(run, 'trace'))
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
  for name, value in pairs(facts) do
    if name ~= 'last_fire' or value > (stats.last_fire or 0) then stats[name] = value end
  end
  stats.changed = true
  return true
end

local function write_stats()
  for job, stats in pairs(stats_of) do
    if stats and stats.changed then
      stats.changed = nil
      gather('HSET', KEY.stats, job, cjson.encode(stats))
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

-- The runs of a schedule that are not over. Nearly always it is one: that is in the hash `open`, which is read and written
-- for many schedules at once, and any others in a set of their own. job -> run id or false; which are known to have no set.
local first_open, first_changed, no_others = {}, {}, {}

-- Read what is needed of many schedules at once.
local function prepare_open(jobs)
  for job, id in pairs(fetch(KEY.open, jobs)) do
    if first_open[job] == nil then first_open[job] = id end
  end
  in_chunks(jobs, function(i, j)
    local sets = {}
    for n = i, j do sets[#sets + 1] = PREFIX .. 'active:' .. jobs[n] end
    if redis.call('EXISTS', unpack(sets)) > 0 then return end
    for n = i, j do no_others[jobs[n]] = true end
  end)
end

local function first_of(job)
  if first_open[job] == nil then first_open[job] = redis.call('HGET', KEY.open, job) end
  return first_open[job]
end

local function set_first(job, id)
  first_open[job] = id
  first_changed[job] = true
end

local function open_runs(job)
  local ids = no_others[job] and {} or redis.call('SMEMBERS', PREFIX .. 'active:' .. job)
  if first_of(job) then ids[#ids + 1] = first_open[job] end
  load_all(ids)
  return ids
end

local function add_open(run)
  local first = first_of(run.job)
  if not first then
    set_first(run.job, run.id)
  elseif first ~= run.id then
    redis.call('SADD', PREFIX .. 'active:' .. run.job, run.id)
    no_others[run.job] = nil
  end
end

local function remove_open(job, id)
  if first_of(job) == id then
    set_first(job, false)
  elseif not no_others[job] then
    redis.call('SREM', PREFIX .. 'active:' .. job, id)
  end
end

-- Count the runs of a schedule that have a place: all that are not over and do not wait for others.
local function places_taken(job)
  local taken = 0
  for _, id in ipairs(open_runs(job)) do
    local run = load(id)
    if run and not noted(run, 'held') then taken = taken + 1 end
  end
  return taken
end

-- Let the next waiting run of a schedule go, if there is a place: the limit may be lower than when the last one went.
local function release_next(job)
  if no_others[job] and not first_of(job) then return 0 end -- what waits is open too
  local backlog = PREFIX .. 'backlog:' .. job
  if redis.call('EXISTS', backlog) == 0 then return 0 end
  if places_taken(job) >= tonumber(redis.call('HGET', PREFIX .. 'limits', job) or 1) then return 0 end
  local run = load(redis.call('LPOP', backlog))
  if not run then return 0 end
  note(run, 'held', nil)
  make_ready(run.id, run.lane, NOW)
  return 1
end

-- A long result stays in the event alone: twenty of them a schedule would be more history than state.
local function remember(run, ending)
  if #ending > LONGEST_ENDING then ending = '' end
  local key = PREFIX .. 'history:' .. run.job
  local kept = redis.call('LPUSH', key, '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"status":' .. quote(run.status) ..
    ',"started_at":' .. (run.started ~= '' and run.started or 'null') .. ',"ended_at":' .. NOW_TEXT .. ',"instance":' ..
    (run.owner ~= '' and quote(run.owner) or 'null') .. ending .. '}')
  if kept >= HISTORY_KEPT + HISTORY_SLACK then redis.call('LTRIM', key, 0, HISTORY_KEPT - 1) end
end

local function drop(id)
  runs_read[id], changed[id] = false, nil
  dropped[#dropped + 1], dropped[id] = id, true
end

local function retain(run, ending)
  run.owner, run.order = '', ''
  note(run, 'held', nil)
  note(run, 'ended', NOW_TEXT)
  note(run, 'ending', '{' .. string.sub(ending, 2) .. '}')
  redis.call('ZREM', PREFIX .. 'oneshots', run.id)
  local done = PREFIX .. 'done'
  redis.call('ZADD', done, NOW_TEXT, run.id)
  local old = redis.call('ZRANGEBYSCORE', done, '-inf', int(NOW - DONE_TTL_MS), 'LIMIT', 0, 100)
  local surplus = redis.call('ZCARD', done) - DONE_KEPT
  if #old == 0 and surplus > 0 then old = redis.call('ZRANGE', done, 0, math.min(surplus, 100) - 1) end
  for _, id in ipairs(old) do
    redis.call('ZREM', done, id)
    drop(id)
  end
end

-- End a run: `status` is terminal, `ending` JSON members with a leading comma (error, result, why), `facts` what the
-- schedule's statistics say of its last run. Returns how many other runs that made ready.
local function finish(run, status, topic, ending, facts)
  local was = run.status
  move(run, status)
  if was == 'running' then
    gather('ZREM', LEASES[run.lane], run.id)
  else
    gather('ZREM', READY[run.lane], run.id)
    gather('ZREM', KEY.later, run.id)
  end
  gather('HDEL', KEY.parked, run.id) -- one that executes may be marked too, as nobody else knew it
  remove_open(run.job, run.id)
  announce(topic, run, ending)
  if run.reason == 'one_shot' then
    retain(run, ending)
    return 0
  end
  drop(run.id)
  facts.last_outcome, facts.last_ended = facts.last_outcome or status, NOW
  local changes = { [status] = 1 }
  -- What fired is counted when it is over; until then whoever shows counters adds the runs that are open.
  if run.reason == 'fire' or run.reason == 'catch_up' then
    changes.fired, facts.last_fire = 1, tonumber(string.match(run.id, '%.(%d+)$'))
  end
  if count(run.id, run.job, changes, facts) then remember(run, ending) end
  if noted(run, 'held') then
    redis.call('LREM', PREFIX .. 'backlog:' .. run.job, 1, run.id)
    return 0
  end
  return release_next(run.job)
end

-- Make a run from: id, job, lane, reason, order, tag, payload (its spec and its data, with a newline between them).
local function create(run)
  add_open(run) -- first, as the one thing here that a stranger's key can refuse
  run.status, run.attempt, run.retries = run.status or 'queued', run.attempt or 0, 0
  run.token, run.owner, run.started, run.queued = run.token or '', run.owner or '', run.started or '', NOW_TEXT
  run.fixed = NOW_TEXT .. '\n' .. run.job .. '\n' .. run.lane .. '\n' .. run.reason .. '\n' .. run.tag
  runs_read[run.id] = run
  touch(run)
  gather('HSET', KEY.payloads, run.id, run.payload)
end

local function create_ready(run, more)
  create(run)
  announce('job.queued', run, more)
  gather('ZADD', READY[run.lane], run.order, run.id)
end

-- Let a run wait for others of its schedule.
local function create_held(run, more, in_front)
  create(run)
  note(run, 'held', true)
  announce('job.queued', run, more)
  redis.call(in_front and 'LPUSH' or 'RPUSH', PREFIX .. 'backlog:' .. run.job, run.id)
end

-- Take a run away from its owner, so that it can be claimed; `order` is its place among what is ready.
local function give_back(run, ending)
  gather('ZREM', LEASES[run.lane], run.id)
  run.owner = ''
  move(run, 'queued')
  make_ready(run.id, run.lane, run.order)
  announce('job.queued', run, ending)
end

-- What became of the attempts that did not settle a run, for who has to find out why.
local function tell_story(run, how)
  local story = noted(run, 'story') or {}
  story[#story + 1] = { attempt = run.attempt, instance = run.owner, started_at = tonumber(run.started), ended_at = NOW, error = how }
  if #story > STORY_KEPT then table.remove(story, 1) end
  note(run, 'story', story)
  return cjson.encode(story)
end

-- Set a run aside with its reason: it is never claimed, never deleted, and goes on when a person resumes it.
local function park(run, why, more)
  gather('ZREM', LEASES[run.lane], run.id)
  move(run, 'queued')
  run.owner = ''
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

-- Write what was changed and gathered. Whatever a script did before it failed has happened, so this follows then too.
local function flush()
  write_stats()
  for _, id in ipairs(dropped) do
    if not changed[id] then -- and made anew
      gather('HDEL', KEY.runs, id)
      gather('HDEL', KEY.payloads, id)
    end
  end
  for id, run in pairs(changed) do gather('HSET', KEY.runs, id, text_of(run)) end
  for job in pairs(first_changed) do
    if first_open[job] then gather('HSET', KEY.open, job, first_open[job]) else gather('HDEL', KEY.open, job) end
  end
  for command, lists in pairs(gathered) do
    for key, list in pairs(lists) do
      in_chunks(list, function(i, j) redis.call(command, key, unpack(list, i, j)) end)
    end
  end
end
