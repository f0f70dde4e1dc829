-- settle: end attempts, each only if its claim still holds. The same batch number again gets the same reply.
-- ARGV: instance, batch number, then for each attempt:
--   run id, token, outcome (succeeded | retry | failed | unloadable | cancelled | terminated | released | unstarted), delay_ms,
--   ending (JSON members with a leading comma), error (JSON), definition (incarnation and generation)
-- Reply: { verdict ('settled' | 'lost') for each attempt..., runs made ready as the last }
local stored = redis.call('GET', PREFIX .. 'batch:' .. SOURCE)
if stored then
  local number, reply = string.match(stored, '^(%d+) (.*)$')
  if number == ARGV[2] then return cjson.decode(reply) end
end
local verdicts, ready = {}, 0

local function give_back(run, started, ending)
  if not started then run.attempt = run.attempt - 1 end
  redis.call('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  redis.call('HDEL', run_key(run.id), 'owner')
  move(run, 'queued', 'attempt', run.attempt)
  make_ready(run.id, run.lane, run.order or NOW_TEXT)
  announce('job.queued', run, ending)
  redis.call('PUBLISH', PREFIX .. 'wake', 'ready')
end

local function fail(run, ending, error_text)
  ready = ready + finish(run, 'failed', 'job.failed', ending, { last_error = cjson.decode(error_text) })
end

-- A waiting retry gives way to a fire that already waits behind it.
local function superseded(run)
  if run.reason ~= 'fire' and run.reason ~= 'run_now' then return false end
  local head = redis.call('LINDEX', PREFIX .. 'backlog:' .. run.job, 0)
  return head and redis.call('HGET', run_key(head), 'reason') == 'fire'
end

local function retry(run, delay, ending, error_text)
  if redis.call('HEXISTS', run_key(run.id), 'stopped') == 1 then return fail(run, ending .. ',"stopped":true', error_text) end
  if superseded(run) then return fail(run, ending .. ',"superseded":true', error_text) end
  run.retries = run.retries + 1
  tell_story(run, cjson.decode(error_text))
  move(run, 'retrying', 'retries', run.retries, 'error', error_text)
  redis.call('ZREM', PREFIX .. 'leases:' .. run.lane, run.id)
  redis.call('HDEL', run_key(run.id), 'owner')
  redis.call('ZADD', PREFIX .. 'later', int(NOW + delay), run.id)
  announce('job.retrying', run, ending .. ',"retry_in_s":' .. string.format('%.3f', delay / 1000))
  count(run.id, run.job, { retried = 1 }, { last_outcome = 'retrying', last_ended = NOW, last_error = cjson.decode(error_text) })
end

local function terminate(run, ending, definition)
  local state = redis.call('HGET', PREFIX .. 'states', run.job)
  ready = ready + finish(run, 'succeeded', 'job.terminated', ending, { last_outcome = 'terminated' })
  if not state then return end
  state = cjson.decode(state)
  if state.incarnation .. ' ' .. int(state.generation) ~= definition then return end
  remove(run.job, state.lane)
  cancel_waiting(run.job, 'its schedule was ended by the job itself')
  emit('schedule.removed', '{"id":' .. quote(run.job) .. ending .. ',"terminated":true}')
  record_of_job('schedule.removed', run.job, '{"via":"job","run_id":' .. quote(run.id) .. ending .. '}')
  redis.call('PUBLISH', PREFIX .. 'wake', 'due')
end

local function settle(run, outcome, delay, ending, error_text, definition)
  if outcome == 'succeeded' then
    ready = ready + finish(run, 'succeeded', 'job.succeeded', ending, {})
  elseif outcome == 'retry' then
    retry(run, delay, ending, error_text)
  elseif outcome == 'unloadable' and run.reason == 'one_shot' then
    park(run, cjson.decode(error_text), '')
  elseif outcome == 'failed' or outcome == 'unloadable' then
    fail(run, ending, error_text)
  elseif outcome == 'cancelled' then
    ready = ready + finish(run, 'cancelled', 'job.cancelled', ending, {})
  elseif outcome == 'terminated' then
    terminate(run, ending, definition)
  else
    give_back(run, outcome == 'released', ending)
  end
end

-- All runs first, so that the counters of their schedules can be read at once. One run may be named twice: what the
-- first outcome made of it is seen by the second.
local runs, jobs = {}, {}
for i = 3, #ARGV, 7 do
  local id = ARGV[i]
  runs[id] = runs[id] or load(id)
  if runs[id] then jobs[#jobs + 1] = runs[id].job end
end
prepare_stats(jobs)

for i = 3, #ARGV, 7 do
  local run = runs[ARGV[i]]
  if run and run.status == 'running' and run.owner == SOURCE and run.token == ARGV[i + 1] then
    settle(run, ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
    verdicts[#verdicts + 1] = 'settled'
  else
    verdicts[#verdicts + 1] = 'lost'
  end
end
verdicts[#verdicts + 1] = ready
redis.call('SET', PREFIX .. 'batch:' .. SOURCE, ARGV[2] .. ' ' .. cjson.encode(verdicts), 'EX', 3600)
return verdicts
