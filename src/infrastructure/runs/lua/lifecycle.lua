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
