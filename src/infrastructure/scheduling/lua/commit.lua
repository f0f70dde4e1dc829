-- commit: write the plans of taken schedules, each only if its state is still the one that was taken.
-- ARGV: instance, free slots, lease_ms[@deadline], then for each schedule:
--   id, taken state, next state ('' = ended), lane, look, overlap (skip | queue_one | allow), limit, how many caught up
--   fires may wait, dropped, dropped event, n, then n times: run id, reason, order, missed, tag, spec, data
-- Reply: { runs made ready, schedules that had changed meanwhile, the token or '' of each run }
-- As long as this instance has free slots and no run of the lane is ready before them, runs are its own at once.
local lease_ms = unless_late(ARGV[3])
if not lease_ms then return { 0, 0, {} } end
local free, lease, ready, stale, at = tonumber(ARGV[2]), int(NOW + lease_ms), 0, 0, 4
local tokens = {}

local function next_arg()
  at = at + 1
  return ARGV[at - 1]
end

-- Count what is not over: fires (and runs now), waiting fires, and what holds a place. A retry that waits is superseded.
local active, catching_up = {}, 0
local function survey(job)
  local open, waiting, executing, superseded = 0, 0, 0, false
  active, catching_up = redis.call('SMEMBERS', PREFIX .. 'active:' .. job), 0
  for _, id in ipairs(active) do
    local run = load(id)
    local fire = run and (run.reason == 'fire' or run.reason == 'run_now')
    if not run then
      redis.call('SREM', PREFIX .. 'active:' .. job, id)
    elseif run.status == 'retrying' and fire then
      ready, superseded = ready + supersede(run), true
    else
      if fire then open = open + 1 end
      if fire and run.held then waiting = waiting + 1 end
      if run.held and run.reason == 'catch_up' then catching_up = catching_up + 1 end
      if not run.held then executing = executing + 1 end
    end
  end
  if superseded then return survey(job) end -- another run may have got the place, which was counted as waiting
  return open, waiting, executing
end

-- Decide whether a run goes ahead ('ready'), waits behind others ('back', 'front') or is skipped.
local function admit(reason, overlap, limit, most_caught_up, open, waiting, executing)
  if reason == 'catch_up' and executing >= limit then
    return catching_up < most_caught_up and 'back' or 'skip'
  elseif reason ~= 'fire' then
    return executing < limit and 'ready' or 'back'
  end
  if open >= limit then
    return overlap == 'queue_one' and waiting == 0 and 'front' or 'skip'
  end
  return executing < limit and 'ready' or 'front'
end

local overtakes = {}
-- Tell whether a new run of this lane would overtake one that is ready already.
local function would_overtake(lane)
  if overtakes[lane] == nil then overtakes[lane] = redis.call('ZCARD', PREFIX .. 'ready:' .. lane) > 0 end
  return overtakes[lane]
end

local token = int(NOW_US)
local function create_own(run, more, order)
  create(run, more, 'status', 'running', 'attempt', 1, 'retries', 0, 'token', token, 'owner', SOURCE,
    'started', NOW_TEXT, 'order', order)
  gather('ZADD', PREFIX .. 'leases:' .. run.lane, lease, run.id)
  run.attempt, run.owner = 1, SOURCE
  announce('job.started', run, ',"token":' .. quote(token))
  free = free - 1
  tokens[#tokens] = token
end

local function commit_run(job, lane, overlap, limit, most_caught_up, open, waiting, executing)
  local run = { id = next_arg(), reason = next_arg(), job = job, lane = lane }
  local order, missed = next_arg(), tonumber(next_arg())
  run.tag, run.spec, run.data = next_arg(), next_arg(), next_arg()
  tokens[#tokens + 1] = ''
  -- Only a clock that was put back can plan a fire twice: what it made must not be overwritten.
  if #active > 0 and redis.call('EXISTS', run_key(run.id)) == 1 then return open, waiting, executing end
  local verdict = admit(run.reason, overlap, limit, most_caught_up, open, waiting, executing)
  if verdict == 'skip' then
    emit('schedule.fire_skipped', '{"id":' .. quote(job) .. ',"why":"overlap","count":' .. int(1 + missed) .. ',' .. run.tag .. '}')
    count(run.id, job, { skipped = 1 + missed }, {})
    return open, waiting, executing
  end
  local more = missed > 0 and ',"missed":' .. int(missed) or ''
  if verdict ~= 'ready' then
    create_held(run, more, order, verdict == 'front')
    if run.reason == 'fire' then waiting = waiting + 1 else catching_up = catching_up + 1 end
  elseif free > 0 and not would_overtake(lane) then
    create_own(run, more, order)
    executing = executing + 1
  else
    create_ready(run, more, order)
    overtakes[lane] = true
    ready, executing = ready + 1, executing + 1
  end
  count(run.id, job, { fired = 1, missed = missed > 0 and missed or nil }, { last_fire = tonumber(order) })
  if run.reason == 'fire' then open = open + 1 end
  return open, waiting, executing
end

-- Which schedules there are in the arguments, to read what is needed of all of them at once.
local jobs = {}
while at <= #ARGV do
  jobs[#jobs + 1] = ARGV[at]
  at = at + 11 + 7 * tonumber(ARGV[at + 10])
end
at = 4
local states = fetch(PREFIX .. 'states', jobs)
prepare_stats(jobs)

while at <= #ARGV do
  local job, taken, state, lane, look = next_arg(), next_arg(), next_arg(), next_arg(), next_arg()
  local overlap, limit, most_caught_up = next_arg(), tonumber(next_arg()), tonumber(next_arg())
  local missed, dropped_event, n = tonumber(next_arg()), next_arg(), tonumber(next_arg())
  if states[job] ~= taken then
    stale, at = stale + 1, at + 7 * n
    for _ = 1, n do tokens[#tokens + 1] = '' end
  else
    if state ~= '' then
      gather('HSET', PREFIX .. 'states', job, state)
      gather('ZADD', PREFIX .. 'due:' .. lane, look, job)
    end
    if missed > 0 then
      emit('schedule.fire_skipped', dropped_event)
      count(job .. '@' .. cjson.decode(taken).incarnation, job, { missed = missed }, {})
    end
    if n > 0 then
      local open, waiting, executing = survey(job)
      for _ = 1, n do
        open, waiting, executing = commit_run(job, lane, overlap, limit, most_caught_up, open, waiting, executing)
      end
    end
    if state == '' then
      remove(job, lane)
      emit('schedule.removed', '{"id":' .. quote(job) .. ',"why":"it has no further fire"}')
    end
  end
end
if ready > free then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') end
return { ready, stale, tokens }
