-- commit: write the plans of taken schedules, each only if its state is still the one that was taken.
-- ARGV: instance, free slots, then for each schedule:
--   id, taken state, next state ('' = ended), lane, look, overlap (skip | queue_one | allow), limit,
--   dropped, dropped event, removed event, n, then n times: run id, reason, order, missed, tag, spec, data
-- Reply: { runs made ready, schedules that had changed meanwhile }
local free, ready, stale, at = tonumber(ARGV[2]), 0, 0, 3

local function next_arg()
  at = at + 1
  return ARGV[at - 1]
end

-- Count what is not over: fires (and runs now), waiting fires, and what holds a place. A retry that waits is superseded.
local function survey(job)
  local open, waiting, executing, superseded = 0, 0, 0, false
  for _, id in ipairs(redis.call('SMEMBERS', PREFIX .. 'active:' .. job)) do
    local run = load(id)
    local fire = run and (run.reason == 'fire' or run.reason == 'run_now')
    if not run then
      redis.call('SREM', PREFIX .. 'active:' .. job, id)
    elseif run.status == 'retrying' and fire then
      ready, superseded = ready + supersede(run), true
    else
      if fire then open = open + 1 end
      if fire and run.held then waiting = waiting + 1 end
      if not run.held then executing = executing + 1 end
    end
  end
  if superseded then return survey(job) end -- another run may have got the place, which was counted as waiting
  return open, waiting, executing
end

-- Decide whether a run goes ahead ('ready'), waits behind others ('back', 'front') or is skipped.
local function admit(reason, overlap, limit, open, waiting, executing)
  if reason ~= 'fire' then
    return executing < limit and 'ready' or 'back'
  end
  if open >= limit then
    return overlap == 'queue_one' and waiting == 0 and 'front' or 'skip'
  end
  return executing < limit and 'ready' or 'front'
end

local function commit_run(job, lane, overlap, limit, open, waiting, executing)
  local id, reason, order, missed = next_arg(), next_arg(), next_arg(), tonumber(next_arg())
  local tag, spec, data = next_arg(), next_arg(), next_arg()
  -- Only a clock that was put back can plan a fire twice: what it made must not be overwritten.
  if redis.call('EXISTS', run_key(id)) == 1 then return open, waiting, executing end
  local verdict = admit(reason, overlap, limit, open, waiting, executing)
  if verdict == 'skip' then
    emit('schedule.fire_skipped', '{"id":' .. quote(job) .. ',"why":"overlap","count":' .. int(1 + missed) .. ',' .. tag .. '}')
    count(job, { skipped = 1 + missed })
    return open, waiting, executing
  end
  create(id, job, lane, reason, tag, spec, data, nil, nil, missed > 0 and ',"missed":' .. int(missed) or '')
  if verdict == 'ready' then
    enqueue(id, lane, order)
    ready, executing = ready + 1, executing + 1
  else
    hold(id, job, order, verdict == 'front')
    if reason == 'fire' then waiting = waiting + 1 end
  end
  count(job, { fired = 1, missed = missed > 0 and missed or nil }, { last_fire = tonumber(order) })
  if reason == 'fire' then open = open + 1 end
  return open, waiting, executing
end

while at <= #ARGV do
  local job, taken, state, lane, look = next_arg(), next_arg(), next_arg(), next_arg(), next_arg()
  local overlap, limit = next_arg(), tonumber(next_arg())
  local dropped, dropped_event, removed_event, n = tonumber(next_arg()), next_arg(), next_arg(), tonumber(next_arg())
  if redis.call('HGET', PREFIX .. 'states', job) ~= taken then
    stale, at = stale + 1, at + 7 * n
  else
    if state ~= '' then write(job, state, lane, look) end
    if dropped > 0 then
      emit('schedule.fire_skipped', dropped_event)
      count(job, { missed = dropped })
    end
    if n > 0 then
      local open, waiting, executing = survey(job)
      for _ = 1, n do
        open, waiting, executing = commit_run(job, lane, overlap, limit, open, waiting, executing)
      end
    end
    if state == '' then
      remove(job, lane)
      emit('schedule.removed', removed_event)
    end
  end
end
if ready > free then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') end
return { ready, stale }
