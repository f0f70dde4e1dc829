-- A run is one text in `runs`, whose lines infrastructure/runs/records.py reads too: what changes, then what does not. The
-- tag, its last and longest line, is cut off by its place: a pattern reads it letter by letter.
-- `more` is JSON of what few runs have: held, stopped, takeovers, error, story, progress, message, corr, trace, ended, ending, by.
local function parse(id, text)
  local status, attempt, retries, token, owner, order, started, more, fixed, job, lane, reason, tag = string.match(text,
    '^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n()[^\n]*\n([^\n]*)\n([^\n]*)\n([^\n]*)\n()')
  if not tag then return false end -- somebody else wrote it
  return { id = id, status = status, attempt = tonumber(attempt), retries = tonumber(retries), token = token, owner = owner,
    order = order, started = started, more = more ~= '' and cjson.decode(more) or nil, fixed = string.sub(text, fixed),
    job = job, lane = lane, reason = reason, tag = string.sub(text, tag) }
end

local function text_of(run)
  local more = run.more and next(run.more) and cjson.encode(run.more) or ''
  return table.concat({ run.status, run.attempt, run.retries, run.token, run.owner, run.order, run.started, more, run.fixed }, '\n')
end

-- Runs are read once a call, changed here, and written when the script ends: id -> run, its text as long as nobody asked for
-- more, or false for what is not there. What is changed may be a text too.
local runs_read = {}

local changed = {}

local dropped = {}

local function load_all(ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if runs_read[id] == nil then
      runs_read[id] = false
      missing[#missing + 1] = id
    end
  end
  fetch(RUNS, missing, runs_read)
end

local function load(id)
  if runs_read[id] == nil then load_all({ id }) end
  if type(runs_read[id]) == 'string' then runs_read[id] = parse(id, runs_read[id]) end
  return runs_read[id] or nil
end

local function touch(run) changed[run.id] = run end

local function write_changed()
  for id, run in pairs(changed) do gather('HSET', RUNS, id, type(run) == 'string' and run or text_of(run)) end
end

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

-- What events tell of a run. `more` is '' or JSON members with a leading comma.
local US = quote(SOURCE)

local function told_of(run, more)
  local who = (run.owner == '' or run.owner == SOURCE) and US or quote(run.owner)
  return '{' .. run.tag .. ',"attempt":' .. run.attempt .. ',"instance_id":' .. who .. more .. '}'
end

local function announce(topic, run, more)
  emit(topic, told_of(run, more), noted(run, 'corr'), noted(run, 'trace'))
end

-- Counters belong to one incarnation of a schedule, which the ids of its runs name: incarnations grow with time. A run of
-- an older one counts nowhere. Returns whether the run belongs to the schedule as it stands.
local stats_of = {}

local stats_changed = {}

local function stats_for(job)
  local stats = stats_of[job]
  if stats == nil then stats = redis.call('HGET', STATS, job) end
  if type(stats) == 'string' then
    stats = cjson.decode(stats)
  elseif not stats then
    stats = redis.call('HEXISTS', STATES, job) == 1 and {}
  end
  stats_of[job] = stats
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
  stats_changed[job] = true
  return true
end

-- As text the counters begin with what a success changes, so that `count_success` can change it there: nearly every run is one.
local SUCCEEDED_LAST = ',"last_outcome":"succeeded"'
local function stats_text(stats)
  local texts, rest = {}, {}
  for _, name in ipairs({ 'incarnation', 'fired', 'succeeded', 'last_fire', 'last_ended', 'last_outcome' }) do
    if stats[name] == nil then return cjson.encode(stats) end
    texts[#texts + 1] = quote(name) .. ':' .. quote(stats[name])
    rest[name] = true
  end
  for name, value in pairs(stats) do
    if not rest[name] then texts[#texts + 1] = quote(name) .. ':' .. quote(value) end
  end
  return '{' .. table.concat(texts, ',') .. '}'
end

-- Count the success of a fire in the text of the counters, and return that; nil when it takes more, as after a failure.
local function count_success(run_id, job)
  local text = stats_of[job]
  local incarnation, due = string.match(run_id, '^([^.]*)%.(%d+)$', #job + 2)
  if type(text) ~= 'string' or not due then return nil end
  local known = #'{"incarnation":"' + #incarnation
  if string.sub(text, known - #incarnation + 1, known) ~= incarnation then return nil end
  local fired, succeeded, last_fire, outcome = string.match(text,
    '^","fired":(%d+),"succeeded":(%d+),"last_fire":(%d+),"last_ended":%d+()', known + 1)
  if not outcome or tonumber(due) <= tonumber(last_fire) then return nil end
  local rest = outcome + #SUCCEEDED_LAST
  if string.sub(text, outcome, rest - 1) ~= SUCCEEDED_LAST then return nil end
  local once_more = int(fired + 1)
  text = '{"incarnation":"' .. incarnation .. '","fired":' .. once_more .. ',"succeeded":' ..
    (succeeded == fired and once_more or int(succeeded + 1)) ..
    ',"last_fire":' .. due .. ',"last_ended":' .. NOW_TEXT .. SUCCEEDED_LAST .. string.sub(text, rest)
  stats_of[job] = text
  return text
end

-- Count missed fires in that text, where it can be done there: no text of another's can hold what is looked for, as quotes in it
-- are escaped.
local function count_missed(run_id, job, missed)
  local text, incarnation = stats_of[job], string.match(run_id, '^[^.]*', #job + 2)
  local known = '{"incarnation":"' .. incarnation .. '"'
  if type(text) ~= 'string' or string.sub(text, 1, #known) ~= known then
    count(run_id, job, { missed = missed }, {})
    return
  end
  local _, before = string.find(text, ',"missed":', 1, true)
  local so_far, after = string.match(text, '^(%d+)()', (before or #text) + 1)
  if so_far then
    text = string.sub(text, 1, before) .. int(so_far + missed) .. string.sub(text, after)
  else
    text = string.sub(text, 1, -2) .. ',"missed":' .. int(missed) .. '}'
  end
  stats_of[job], stats_changed[job] = text, true
end

local function write_stats()
  for job in pairs(stats_changed) do
    local stats = stats_of[job]
    if stats then gather('HSET', STATS, job, type(stats) == 'string' and stats or stats_text(stats)) end
  end
end

-- Read the counters of many schedules in one command.
local function prepare_stats(jobs) fetch(STATS, jobs, stats_of) end

local function make_ready(id, lane, order)
  redis.call('ZADD', PREFIX .. 'ready:' .. lane, order, id)
end

-- The runs of a schedule that are not over. Nearly always it is one: that is in the hash `open`, which is read and written
-- for many schedules at once, and any others in a set of their own. job -> run id or false; which are known to have no set.
local first_open, no_others = {}, {}

local first_changed = {}

-- Read what is needed of many schedules at once.
local function prepare_open(jobs)
  for job, id in pairs(fetch(OPEN, jobs)) do
    if first_open[job] == nil then first_open[job] = id end
  end
  for i = 1, #jobs, CHUNK do
    local last, sets = math.min(i + CHUNK - 1, #jobs), {}
    for n = i, last do sets[#sets + 1] = PREFIX .. 'active:' .. jobs[n] end
    if redis.call('EXISTS', unpack(sets)) == 0 then
      for n = i, last do no_others[jobs[n]] = true end
    end
  end
end

local function first_of(job)
  if first_open[job] == nil then first_open[job] = redis.call('HGET', OPEN, job) end
  return first_open[job]
end

local function set_first(job, id)
  first_open[job] = id
  first_changed[job] = true
end

local function write_open()
  for job in pairs(first_changed) do
    if first_open[job] then gather('HSET', OPEN, job, first_open[job]) else gather('HDEL', OPEN, job) end
  end
end

-- By id: fires in the order of their due times.
local function open_runs(job)
  local ids = no_others[job] and {} or redis.call('SMEMBERS', PREFIX .. 'active:' .. job)
  if first_of(job) then ids[#ids + 1] = first_open[job] end
  if #ids > 1 then table.sort(ids) end
  load_all(ids)
  return ids
end

local function add_open(run)
  if run.reason == 'one_shot' then return end -- it is its own job, and found by its id
  local first = first_of(run.job)
  if not first then
    set_first(run.job, run.id)
  elseif first ~= run.id then
    redis.call('SADD', PREFIX .. 'active:' .. run.job, run.id)
    no_others[run.job] = nil
  end
end

local function remove_open(job, id)
  if job == id then return end
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
