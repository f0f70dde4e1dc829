-- commit: write the plans of taken schedules, each only if its state is still the one that was taken.
-- ARGV: instance, free slots, lease_ms[@deadline], then for each schedule:
--   id, taken state, next state ('' = ended), lane, look ('' = parked), rule ('' = 'skip 1 1': overlap, limit, how many caught up fires
--   may wait), dropped ('' = none, or '<how many> <event>'), n, then n times: run id, '<reason> <order> <missed>', tag, payload
-- Reply: { runs made ready, schedules that had changed meanwhile, the token or '' of each run }
-- As long as this instance has free slots and no run of the lane is ready before them, runs are its own at once.
local lease_ms = unless_late(ARGV[3])
if not lease_ms then return { 0, 0, {} } end
local free, lease, ready, stale, at = tonumber(ARGV[2]), int(NOW + lease_ms), 0, 0, 4
local HEAD, A_RUN = 8, 4
local tokens = {}

local function next_arg()
  at = at + 1
  return ARGV[at - 1]
end

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

local function commit_run(job, lane, rule, found)
  local run = { id = next_arg(), job = job, lane = lane }
  local missed
  run.reason, run.order, missed = string.match(next_arg(), '^(%S+) (%d+) (%d+)$')
  run.tag, run.payload, missed = next_arg(), next_arg(), tonumber(missed)
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

local PLAIN = { overlap = 'skip', limit = 1, most_caught_up = 1 }
local function rule_of(text)
  if text == '' then return PLAIN end
  local overlap, limit, most = string.match(text, '^(%S+) (%d+) (%d+)$')
  return { overlap = overlap, limit = tonumber(limit), most_caught_up = tonumber(most) }
end

local function commit_schedule(job, taken, state, lane, look, rule, dropped, n)
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
    for _ = 1, n do commit_run(job, lane, how, found) end
  end
  if state == '' then
    remove(job, lane)
    emit('schedule.removed', '{"id":' .. quote(job) .. ',"why":"it has no further fire"}')
  end
end

-- What most fires are: one, on time, of a schedule with the usual rule of which nothing is out, and there is a slot for it. It is
-- written at once, as the texts that it consists of. False when it takes more than that.
local OWN, BEGUN = 'running\n1\n0\n' .. token .. '\n' .. SOURCE .. '\n', '\n' .. NOW_TEXT .. '\n\n' .. NOW_TEXT .. '\n'
local STARTED = ',"attempt":1,"instance_id":' .. US .. ',"token":' .. quote(token) .. '}'
local function commit_plainly(at)
  local job, _, state, lane, look, rule, dropped_ones, n, id, why, tag, payload = unpack(ARGV, at, at + HEAD + A_RUN - 1)
  if rule ~= '' or dropped_ones ~= '' or n ~= '1' or state == '' or look == '' or first_open[job] or not no_others[job] then return false end
  local order = free > 0 and string.match(why, '^fire (%d+) 0$')
  if not order or runs_read[id] or would_overtake(lane) then return false end
  gather('HSET', STATES, job, state)
  gather('ZADD', PREFIX .. 'due:' .. lane, look, job)
  set_first(job, id)
  runs_read[id] = OWN .. order .. BEGUN .. job .. '\n' .. lane .. '\nfire\n' .. tag
  changed[id] = runs_read[id]
  gather('HSET', PAYLOADS, id, payload)
  gather('ZADD', PREFIX .. 'leases:' .. lane, lease, id)
  emit('job.started', '{' .. tag .. STARTED)
  free, tokens[#tokens + 1] = free - 1, token
  return true
end

-- Which schedules there are in the arguments, to read what is needed of all of them at once.
local jobs = {}
while at <= #ARGV do
  jobs[#jobs + 1] = ARGV[at]
  at = at + HEAD + A_RUN * tonumber(ARGV[at + HEAD - 1])
end
at = 4
local states = fetch(STATES, jobs)
prepare_open(jobs)
local busy = {}
for _, job in ipairs(jobs) do busy[#busy + 1] = first_open[job] or nil end
load_all(busy)

while at <= #ARGV do
  local n = tonumber(ARGV[at + HEAD - 1])
  if states[ARGV[at]] ~= ARGV[at + 1] then
    stale, at = stale + 1, at + HEAD + A_RUN * n
    for _ = 1, n do tokens[#tokens + 1] = '' end
  elseif commit_plainly(at) then
    at = at + HEAD + A_RUN
  else
    commit_schedule(next_arg(), next_arg(), next_arg(), next_arg(), next_arg(), next_arg(), next_arg(), tonumber(next_arg()))
  end
end
if ready > free then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') end
return { ready, stale, tokens }
