-- A long result stays in the event alone: twenty of them a schedule would be more history than state.
local LONGEST_ENDING = 16384
-- Trimmed seldom: so many more than are shown.
local HISTORY_SLACK = 10
local function remember(job, tag, how, ending)
  local key = PREFIX .. 'history:' .. job
  local kept = redis.call('LPUSH', key,
    '{' .. tag .. how .. ',"ended_at":' .. NOW_TEXT .. (#ending > LONGEST_ENDING and '' or ending) .. '}')
  if kept >= HISTORY_KEPT + HISTORY_SLACK then redis.call('LTRIM', key, 0, HISTORY_KEPT - 1) end
end

local function how_it_ended(run)
  return ',"attempt":' .. run.attempt .. ',"status":' .. quote(run.status) .. ',"started_at":' ..
    (run.started ~= '' and run.started or 'null') .. ',"instance":' .. (run.owner ~= '' and quote(run.owner) or 'null')
end

local function drop(id)
  runs_read[id], changed[id] = false, nil
  dropped[#dropped + 1], dropped[id] = id, true
end

local function forget_dropped()
  local gone = {}
  for _, id in ipairs(dropped) do
    if not changed[id] then gone[#gone + 1] = id end -- else it was made anew
  end
  write_all('HDEL', RUNS, gone)
  write_all('HDEL', PAYLOADS, gone)
end

local retained = false

-- A one-shot that is over is kept while anything holds it: `done` for a while, `dead` when it failed, until somebody retries it
-- or it is too old, and `export` until the history has it.
local function retain(run, ending)
  if run.owner ~= '' then note(run, 'by', run.owner) end
  run.owner, run.order = '', ''
  note(run, 'held', nil)
  note(run, 'ended', NOW_TEXT)
  note(run, 'ending', '{' .. string.sub(ending, 2) .. '}')
  gather('ZREM', PREFIX .. 'oneshots', run.id)
  gather('ZADD', PREFIX .. 'done', NOW_TEXT, run.id)
  if EXPORTED_AT_MOST > 0 then gather('ZADD', PREFIX .. 'export', NOW_TEXT, run.id) end
  if run.status == 'failed' then
    gather('ZADD', PREFIX .. 'dead', NOW_TEXT, run.id)
    announce('job.dead', run, ending)
  end
  retained = true
end

-- Let go of runs; those that nothing else holds are forgotten.
local function let_go(holder, all)
  for i = 1, #all, CHUNK do
    local ids = { unpack(all, i, math.min(i + CHUNK - 1, #all)) }
    redis.call('ZREM', PREFIX .. holder, unpack(ids))
    local held, forgotten = {}, {}
    for _, other in ipairs({ 'done', 'dead', 'export' }) do
      if other ~= holder then
        for n, score in ipairs(redis.call('ZMSCORE', PREFIX .. other, unpack(ids))) do held[n] = held[n] or score end
      end
    end
    for n, id in ipairs(ids) do
      if not held[n] then forgotten[#forgotten + 1] = id end
    end
    if #forgotten > 0 then
      redis.call('HDEL', RUNS, unpack(forgotten))
      redis.call('HDEL', PAYLOADS, unpack(forgotten))
    end
  end
end

-- The oldest that are too old or too many, some at a time.
local TRIMMED_AT_ONCE = 500
local function surplus(holder, most, ttl_ms)
  local old = ttl_ms and redis.call('ZRANGEBYSCORE', PREFIX .. holder, '-inf', int(NOW - ttl_ms), 'LIMIT', 0, TRIMMED_AT_ONCE) or {}
  local too_many = redis.call('ZCARD', PREFIX .. holder) - most
  if #old > 0 or too_many <= 0 then return old end
  return redis.call('ZRANGE', PREFIX .. holder, 0, math.min(too_many, TRIMMED_AT_ONCE) - 1)
end

local function trim_retained()
  if not retained then return end
  let_go('done', surplus('done', DONE_KEPT, DONE_TTL_MS))
  let_go('dead', surplus('dead', DEAD_KEPT, DEAD_TTL_MS))
  local lost = surplus('export', EXPORTED_AT_MOST) -- all, after the history was turned off
  if #lost > 0 then redis.call('HINCRBY', PREFIX .. 'meta', 'export_dropped', #lost) end
  let_go('export', lost)
end

-- What is ready is taken in this order: by time, but a step of priority is worth a time of waiting. So nothing waits for ever.
local function order_at(run, ms) return int(ms - (noted(run, 'ahead_ms') or 0)) end

-- Runs that share a key have so many places among them; who finds none waits, and is ready again when one gives up its own.
local function takes_place(run)
  local key = noted(run, 'key')
  if not key or redis.call('SISMEMBER', PREFIX .. 'holders:' .. key, run.id) == 1 then return true end
  if redis.call('SCARD', PREFIX .. 'holders:' .. key) >= (noted(run, 'key_limit') or 1) then
    redis.call('ZADD', PREFIX .. 'keyed:' .. key, run.order, run.id)
    return false
  end
  redis.call('SADD', PREFIX .. 'holders:' .. key, run.id)
  return true
end

-- Take a run out of what executes; returns how many others that made ready.
local function stop_executing(run)
  gather('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  local key = noted(run, 'key')
  if not key then return 0 end
  redis.call('SREM', PREFIX .. 'holders:' .. key, run.id)
  local id = redis.call('ZPOPMIN', PREFIX .. 'keyed:' .. key)[1]
  local following = id and load(id)
  if not following then return 0 end
  make_ready(id, following.lane, following.order)
  return 1
end

-- One that executes may be marked as parked too, as nobody else knew it. Nearly always none is.
local any_marked
local function unmark(id)
  if any_marked == nil then any_marked = redis.call('EXISTS', PREFIX .. 'parked') == 1 end
  if any_marked then gather('HDEL', PREFIX .. 'parked', id) end
end

-- What the end of a run means for its schedule. Returns how many others that made ready.
local function tell_schedule(run, status, ending, facts)
  facts.last_outcome, facts.last_ended = facts.last_outcome or status, NOW
  local changes = { [status] = 1 }
  -- What fired is counted when it is over; until then whoever shows counters adds the runs that are open.
  if run.reason == 'fire' or run.reason == 'catch_up' then
    changes.fired, facts.last_fire = 1, tonumber(string.match(run.id, '%.(%d+)$'))
  end
  if count(run.id, run.job, changes, facts) then remember(run.job, run.tag, how_it_ended(run), ending) end
  if noted(run, 'held') then
    redis.call('LREM', PREFIX .. 'backlog:' .. run.job, 1, run.id)
    return 0
  end
  return release_next(run.job)
end

-- End a run: `status` is terminal, `ending` JSON members with a leading comma (error, result, why), `facts` what the
-- schedule's statistics say of its last run. Returns how many other runs that made ready.
local function finish(run, status, topic, ending, facts)
  local was, ready = run.status, 0
  move(run, status)
  if was == 'running' then
    ready = stop_executing(run)
  else
    gather('ZREM', PREFIX .. 'ready:' .. run.lane, run.id)
    gather('ZREM', PREFIX .. 'later', run.id)
    if noted(run, 'key') then redis.call('ZREM', PREFIX .. 'keyed:' .. noted(run, 'key'), run.id) end
  end
  unmark(run.id)
  remove_open(run.job, run.id)
  announce(topic, run, ending)
  if run.reason == 'one_shot' then
    retain(run, ending)
    return ready
  end
  drop(run.id)
  return ready + tell_schedule(run, status, ending, facts)
end

-- End what nobody started in time; some at a time.
local function expire_overdue()
  local overdue = redis.call('ZRANGEBYSCORE', PREFIX .. 'expiring', '-inf', NOW_TEXT, 'LIMIT', 0, CHUNK)
  load_all(overdue)
  for _, id in ipairs(overdue) do
    redis.call('ZREM', PREFIX .. 'expiring', id)
    local run = load(id)
    if run and run.status == 'queued' and run.attempt == 0 then
      finish(run, 'expired', 'job.expired', ',"why":"nobody started it in time"', {})
    end
  end
end

-- Complete a run that is new; it has id, job, lane, reason and tag.
local function born(run)
  run.status, run.attempt, run.retries = run.status or 'queued', run.attempt or 0, 0
  run.token, run.owner, run.started, run.queued = run.token or '', run.owner or '', run.started or '', NOW_TEXT
  run.fixed = NOW_TEXT .. '\n' .. run.job .. '\n' .. run.lane .. '\n' .. run.reason .. '\n' .. run.tag
  return run
end

-- Make a run from: id, job, lane, reason, order, tag, payload (its spec and its data, with a newline between them).
local function create(run)
  add_open(run) -- first, as the one thing here that a stranger's key can refuse
  runs_read[born(run).id] = run
  touch(run)
  gather('HSET', PAYLOADS, run.id, run.payload)
end

local function create_ready(run, more)
  create(run)
  announce('job.queued', run, more)
  gather('ZADD', PREFIX .. 'ready:' .. run.lane, run.order, run.id)
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
  stop_executing(run)
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
  stop_executing(run)
  move(run, 'queued')
  run.owner = ''
  redis.call('HSET', PREFIX .. 'parked', run.id, why)
  any_marked = true
  announce('job.parked', run, ',"why":' .. quote(why) .. more)
end

-- Let an instance have a run from now on, under a new token.
local function own(run, owner, lease_end)
  run.token = int(math.max((tonumber(run.token) or 0) + 1, NOW_US))
  run.attempt, run.owner, run.started = run.attempt + 1, owner, NOW_TEXT
  move(run, 'running')
  gather('ZADD', PREFIX .. 'leases:' .. run.lane, lease_end, run.id)
  announce('job.started', run, ',"token":"' .. run.token .. '"')
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

