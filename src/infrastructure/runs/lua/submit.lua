-- submit: make one run that a person or a program asked for: a one-shot, a run now, a backfill.
-- ARGV: instance, run id, job id, lane, reason, tag, payload, corr, trace, due_ms ('' = now), overlap limit,
--       state of the schedule ('' for a one-shot): its fires may have moved on since, its definition may not
-- Reply: { 'created' | 'unchanged' | 'changed' | 'taken' | 'busy' | 'stale', status, executing runs }

local id, job, lane, reason = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local tag, payload, corr, trace = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local due, limit, expected = ARGV[10], tonumber(ARGV[11]), ARGV[12]

local run = { id = id, job = job, lane = lane, reason = reason, order = NOW_TEXT, tag = tag, payload = payload }

local function place()
  if due ~= '' and tonumber(due) > NOW then
    run.order = due
    create(run)
    announce('job.queued', run, '')
    redis.call('ZADD', PREFIX .. 'later', due, id)
    redis.call('PUBLISH', PREFIX .. 'wake', 'due')
  else
    create_ready(run, '')
    redis.call('PUBLISH', PREFIX .. 'wake', 'ready')
  end
end

-- Asked again within another trace it is the same wish.
local function wish(text)
  local spec, asked = string.match(text, '^([^\n]*)(.*)$')
  return (string.gsub(spec, ',?"traceparent":"[^"]*"', '')) .. asked
end

-- What is asked for under an id that is in use: it may be the same, and what has not begun may become another.
local function change_wish(old)
  if old.lane == lane and wish(redis.call('HGET', PAYLOADS, id) or '') == wish(payload) then
    return { 'unchanged', old.status, {} }
  end
  if old.status ~= 'queued' or old.attempt ~= 0 then return { 'taken', old.status, {} } end
  redis.call('ZREM', PREFIX .. 'ready:' .. old.lane, id)
  redis.call('ZREM', PREFIX .. 'later', id)
  place()
  record('job.changed')
  return { 'changed', 'queued', {} }
end

local function is_defined_as(text)
  local current = redis.call('HGET', STATES, job)
  if not current then return false end
  local incarnation, generation = identity(current)
  local wanted_incarnation, wanted_generation = identity(text)
  return incarnation == wanted_incarnation and generation == wanted_generation
end

-- Return what is running, and how many places are taken: a retry that waits keeps its place.
local function survey()
  local running, taken, waiting = {}, 0, {}
  for _, other in ipairs(open_runs(job)) do
    local run = load(other)
    if run and not noted(run, 'held') then
      taken = taken + 1
      if run.status ~= 'retrying' then
        running[#running + 1] = other
      elseif run.reason == 'fire' or run.reason == 'run_now' then
        waiting[#waiting + 1] = run
      end
    end
  end
  return running, taken, waiting
end

local function ask_of_schedule()
  local known = load(id)
  if known then return { 'unchanged', known.status, {} } end
  if not is_defined_as(expected) then return { 'stale', '', {} } end
  local running, taken, waiting = survey()
  if reason == 'run_now' then
    if #running >= limit then return { 'busy', '', running } end
    if taken >= limit and #waiting > 0 then
      supersede(waiting[1])
      taken = select(2, survey())
    end
  end
  if taken < limit then place() else create_held(run, '', reason == 'run_now') end
  record()
  return { 'created', 'queued', running }
end

-- main
redis.call('SADD', PREFIX .. 'lanes', lane)
if corr ~= '' or trace ~= '' then run.more = { corr = corr ~= '' and corr or nil, trace = trace ~= '' and trace or nil } end
if reason ~= 'one_shot' then return ask_of_schedule() end
if redis.call('HEXISTS', STATES, id) == 1 then return { 'taken', 'schedule', {} } end
local old = load(id)
if old then return change_wish(old) end
place()
redis.call('ZADD', PREFIX .. 'oneshots', int(NOW), id)
record()
return { 'created', 'queued', {} }
