-- commit: write the plans of taken schedules, each only if its state is still the one that was taken.
-- ARGV: instance, free slots, lease_ms[@deadline], then for each schedule:
--   id, taken state, next state ('' = ended), lane, look ('' = parked), rule ('' = 'skip 1 1': overlap, limit, how many caught up fires
--   may wait), dropped ('' = none, or '<how many> <event>'), n, then n times: run id, '<reason> <order> <missed>', tag, payload
--   What most are has less to say: the rule 'fire' stands for the usual one, nothing dropped, and one fire of which nothing was
--   missed; run id, order, tag and payload follow at once. So does 'late', for a fire that stands for missed ones too: its order
--   is 'fire <order> <missed>'.
-- Reply: { runs made ready, schedules that had changed meanwhile, the token or '' of each run }
-- As long as this instance has free slots and no run of the lane is ready before them, runs are its own at once.

local HEAD = 8

local A_RUN = 4

local A_FIRE = 10

local ALONE = { fire = true, late = true }

local lease_ms = unless_late(ARGV[3])

local free, lease, ready = tonumber(ARGV[2]), lease_ms and int(NOW + lease_ms), 0

local tokens = {}

-- Count what is not over: fires (and runs now), waiting ones, and what holds a place. A retry that waits is superseded.
local function survey(job)
  local found, superseded = { fires = 0, waiting = 0, catching_up = 0, executing = 0 }, false
  for _, id in ipairs(open_runs(job)) do
    local run = load(id)
    local fire, held = run and (run.reason == 'fire' or run.reason == 'run_now'), run and noted(run, 'held')
    if not run then
      remove_open(job, id)
    elseif run.status == 'retrying' and fire then
      ready, superseded = ready + supersede(run), true
    else
      if fire then found.fires = found.fires + 1 end
      if fire and held then found.waiting = found.waiting + 1 end
      if held and run.reason == 'catch_up' then found.catching_up = found.catching_up + 1 end
      if not held then found.executing = found.executing + 1 end
    end
  end
  if superseded then return survey(job) end -- another run may have got the place, which was counted as waiting
  return found
end

-- Decide whether a run goes ahead ('ready'), waits behind others ('back', 'front') or is skipped.
local function admit(reason, rule, found)
  local has_place = found.executing < rule.limit
  if reason == 'catch_up' and not has_place then
    return found.catching_up < rule.most_caught_up and 'back' or 'skip'
  elseif reason ~= 'fire' then
    return has_place and 'ready' or 'back'
  elseif found.fires >= rule.limit then
    return rule.overlap == 'queue_one' and found.waiting == 0 and 'front' or 'skip'
  end
  return has_place and 'ready' or 'front'
end

local overtakes = {}

-- Tell whether a new run of this lane would overtake one that is ready already.
local function would_overtake(lane)
  if overtakes[lane] == nil then overtakes[lane] = redis.call('ZCARD', PREFIX .. 'ready:' .. lane) > 0 end
  return overtakes[lane]
end

local token = int(NOW_US)

local function create_own(run, more)
  run.status, run.attempt, run.token, run.owner, run.started = 'running', 1, token, SOURCE, NOW_TEXT
  create(run)
  gather('ZADD', PREFIX .. 'leases:' .. run.lane, lease, run.id)
  announce('job.started', run, more .. ',"token":' .. quote(token))
  free = free - 1
  tokens[#tokens] = token
end

local function commit_run(job, lane, rule, found, at)
  local run, why, missed = { id = ARGV[at], job = job, lane = lane, tag = ARGV[at + 2], payload = ARGV[at + 3] }, ARGV[at + 1], 0
  run.reason, run.order, missed = string.match(why, '^(%S+) (%d+) (%d+)$')
  if not missed then run.reason, run.order, missed = 'fire', why, 0 end
  missed = tonumber(missed)
  tokens[#tokens + 1] = ''
  -- A clock that was put back, or a changed rhythm, can plan a fire twice: what it made must not be overwritten, nor begin
  -- anew when this call has just ended it, as a retry that waited.
  if runs_read[run.id] or dropped[run.id] then return end
  local verdict = admit(run.reason, rule, found)
  if verdict == 'skip' then
    emit('schedule.fire_skipped', '{"id":' .. quote(job) .. ',"why":"overlap","count":' .. int(1 + missed) .. ',' .. run.tag .. '}')
    count(run.id, job, { skipped = 1 + missed }, {})
    return
  end
  local more = missed > 0 and ',"missed":' .. int(missed) or ''
  if verdict ~= 'ready' then
    create_held(run, more, verdict == 'front')
    local waits = run.reason == 'fire' and 'waiting' or 'catching_up'
    found[waits] = found[waits] + 1
  else
    found.executing = found.executing + 1
    if free > 0 and not would_overtake(lane) then
      create_own(run, more)
    else
      create_ready(run, more)
      overtakes[lane], ready = true, ready + 1
    end
  end
  if missed > 0 then count(run.id, job, { missed = missed }, {}) end
  if run.reason == 'fire' then found.fires = found.fires + 1 end
end

local function rule_of(text)
  if text == '' then return { overlap = 'skip', limit = 1, most_caught_up = 1 } end
  local overlap, limit, most = string.match(text, '^(%S+) (%d+) (%d+)$')
  return { overlap = overlap, limit = tonumber(limit), most_caught_up = tonumber(most) }
end

local function commit_schedule(at)
  local job, taken, state, lane, look, rule, dropped, n = unpack(ARGV, at, at + HEAD - 1)
  local first = at + HEAD
  if ALONE[rule] then rule, dropped, n, first = '', '', 1, at + A_FIRE - A_RUN end
  n = tonumber(n)
  local found = n > 0 and survey(job) -- first: what a stranger's key makes fail then fails before the fire is passed
  if state ~= '' then
    gather('HSET', STATES, job, state)
    if look ~= '' then
      gather('ZADD', PREFIX .. 'due:' .. lane, look, job)
    else
      gather('ZREM', PREFIX .. 'due:' .. lane, job)
      emit('schedule.changed', '{"id":' .. quote(job) .. ',"parked":' .. quote(cjson.decode(state).parked.reason) .. '}')
    end
  end
  if dropped ~= '' then
    local missed, event = string.match(dropped, '^(%d+) (.*)$')
    emit('schedule.fire_skipped', event)
    count(job .. '@' .. identity(taken), job, { missed = tonumber(missed) }, {})
  end
  if n > 0 then
    local how = rule_of(rule)
    for i = 0, n - 1 do commit_run(job, lane, how, found, first + i * A_RUN) end
  end
  if state == '' then
    remove(job, lane)
    emit('schedule.removed', '{"id":' .. quote(job) .. ',"why":"it has no further fire"}')
  end
end

-- What most fires are: one of a schedule with the usual rule of which nothing is out, and there is a slot for it. It is
-- written at once, as the texts that it consists of; these in a few commands for all of them. Lane -> those of it. One that stands
-- for missed ones costs little more: a process that fell behind has many of them, and would stay behind.
local OWN, BEGUN = 'running\n1\n0\n' .. token .. '\n' .. SOURCE .. '\n', '\n' .. NOW_TEXT .. '\n\n' .. NOW_TEXT .. '\n'
local BY_US, WITH_TOKEN = ',"attempt":1,"instance_id":' .. US, ',"token":' .. quote(token) .. '}'
local STARTED = BY_US .. WITH_TOKEN
local plain_states, plain_open, plain_runs, plain_payloads = {}, {}, {}, {}
local plain_due, plain_leases = {}, {}

local function write_plain()
  write_all('HSET', STATES, plain_states)
  write_all('HSET', OPEN, plain_open)
  write_all('HSET', RUNS, plain_runs)
  write_all('HSET', PAYLOADS, plain_payloads)
  for lane, list in pairs(plain_due) do
    write_all('ZADD', PREFIX .. 'due:' .. lane, list)
    write_all('ZADD', PREFIX .. 'leases:' .. lane, plain_leases[lane])
  end
end

-- Write such a fire; false when it takes more than that.
local function commit_plainly(job, state, lane, look, rule, id, order, tag, payload)
  if free <= 0 or first_open[job] or not no_others[job] or runs_read[id] ~= nil or would_overtake(lane) then return false end
  local started = STARTED
  if rule == 'late' then
    local due, missed = string.match(order, '^fire (%d+) (%d+)$')
    order, started = due, BY_US .. ',"missed":' .. missed .. WITH_TOKEN
    count_missed(id, job, tonumber(missed))
  end
  local text, due, n = OWN .. order .. BEGUN .. job .. '\n' .. lane .. '\nfire\n' .. tag, plain_due[lane], #plain_states
  if not due then
    due = {}
    plain_due[lane], plain_leases[lane] = due, {}
  end
  local m, leases = #due, plain_leases[lane]
  due[m + 1], due[m + 2], leases[m + 1], leases[m + 2] = look, job, lease, id
  plain_states[n + 1], plain_states[n + 2], plain_open[n + 1], plain_open[n + 2] = job, state, job, id
  plain_runs[n + 1], plain_runs[n + 2], plain_payloads[n + 1], plain_payloads[n + 2] = id, text, id, payload
  first_open[job], runs_read[id] = id, text
  emit('job.started', '{' .. tag .. started)
  free, tokens[#tokens + 1] = free - 1, token
  return true
end

-- main
if not lease then return { 0, 0, {} } end
local args, last, stale = ARGV, #ARGV, 0

-- Which schedules there are in the arguments, to read what is needed of all of them at once.
local jobs, places, late = {}, {}, {}
local at, found = 4, 0
while at <= last do
  local rule = args[at + 5]
  found = found + 1
  jobs[found], places[found] = args[at], at
  if rule == 'late' then late[#late + 1] = args[at] end
  at = at + (ALONE[rule] and A_FIRE or HEAD + A_RUN * tonumber(args[at + 7]))
end
local states = fetch(STATES, jobs)
prepare_open(jobs)
prepare_stats(late)
local busy = {}
for _, job in ipairs(jobs) do busy[#busy + 1] = first_open[job] or nil end
load_all(busy)

for _, at in ipairs(places) do
  local job, taken, state, lane, look, rule, id, order, tag, payload = unpack(args, at, at + A_FIRE - 1)
  if states[job] ~= taken then
    stale = stale + 1
    for _ = 1, ALONE[rule] and 1 or tonumber(args[at + 7]) do tokens[#tokens + 1] = '' end
  elseif not ALONE[rule] or not commit_plainly(job, state, lane, look, rule, id, order, tag, payload) then
    commit_schedule(at)
  end
end
if ready > free then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') end
return { ready, stale, tokens }
