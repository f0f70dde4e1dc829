-- settle: end attempts, each only if its claim still holds. The same batch number again gets the same reply.
-- ARGV: instance, batch number, then for each attempt:
--   run id, token, outcome (succeeded | retry | failed | unloadable | cancelled | terminated | released | unstarted),
--   ending (JSON members with a leading comma),
--   more: JSON, '' when it succeeded: delay_ms, error, definition (incarnation and generation)
-- Reply: { verdict ('settled' | 'lost') for each attempt..., runs made ready as the last }

local ready = 0

local function fail(run, ending, why)
  ready = ready + finish(run, 'failed', 'job.failed', ending, { last_error = why })
end

-- A waiting retry gives way to a fire that already waits behind it.
local function superseded(run)
  if run.reason ~= 'fire' and run.reason ~= 'run_now' then return false end
  local head = redis.call('LINDEX', PREFIX .. 'backlog:' .. run.job, 0)
  local run_in_front = head and load(head)
  return run_in_front and run_in_front.reason == 'fire'
end

local function retry(run, delay, ending, why)
  if noted(run, 'stopped') then return fail(run, ending .. ',"stopped":true', why) end
  if superseded(run) then return fail(run, ending .. ',"superseded":true', why) end
  run.retries = run.retries + 1
  tell_story(run, why)
  note(run, 'error', why)
  move(run, 'retrying')
  ready = ready + stop_executing(run)
  run.owner = ''
  redis.call('ZADD', PREFIX .. 'later', int(NOW + delay), run.id)
  announce('job.retrying', run, ending .. ',"retry_in_s":' .. string.format('%.3f', delay / 1000))
  count(run.id, run.job, { retried = 1 }, { last_outcome = 'retrying', last_ended = NOW, last_error = why })
end

local function terminate(run, ending, definition)
  local state = redis.call('HGET', STATES, run.job)
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

local function settle(run, outcome, ending, more)
  if outcome == 'succeeded' then
    ready = ready + finish(run, 'succeeded', 'job.succeeded', ending, {})
  elseif outcome == 'retry' then
    retry(run, more.delay_ms, ending, more.error)
  elseif outcome == 'unloadable' and run.reason == 'one_shot' then
    park(run, more.error, '')
  elseif outcome == 'failed' or outcome == 'unloadable' then
    fail(run, ending, more.error)
  elseif outcome == 'cancelled' then
    ready = ready + finish(run, 'cancelled', 'job.cancelled', ending, {})
  elseif outcome == 'terminated' then
    terminate(run, ending, more.definition)
  else
    if outcome == 'unstarted' then run.attempt = run.attempt - 1 end
    give_back(run, ending)
    redis.call('PUBLISH', PREFIX .. 'wake', 'ready')
  end
end

-- How long the jobs of a class take and how many of a queue end, both as averages that forget (domain/jobs/pace.py): for
-- estimates alone. One read and one write a call.
local took, ended = {}, {}

local function note_pace(run, began, succeeded)
  local _, job, queue = split_lane(run.lane)
  ended['queue:' .. queue] = (ended['queue:' .. queue] or 0) + 1
  if not succeeded or began == '' then return end
  took['job:' .. job] = took['job:' .. job] or {}
  table.insert(took['job:' .. job], NOW - tonumber(began))
end

local MEMORY_MS = 60000

local AVERAGED = 20

local function write_pace()
  local fields = {}
  for field in pairs(ended) do fields[#fields + 1] = field end
  for field in pairs(took) do fields[#fields + 1] = field end
  local before = fetch(PREFIX .. 'pace', fields)
  for field, durations in pairs(took) do
    local average, n = string.match(before[field] or '0 0', '^(%S+) (%d+)')
    average, n = tonumber(average), tonumber(n)
    for _, ms in ipairs(durations) do
      n = math.min(n + 1, AVERAGED)
      average = average + (ms - average) / n
    end
    gather('HSET', PREFIX .. 'pace', field, string.format('%.3f %d', average, n))
  end
  for field, n in pairs(ended) do
    local rate, last, first = string.match(before[field] or '', '^(%S+) (%d+) (%d+)')
    local fading = last and math.exp(-math.max(0, NOW - tonumber(last)) / MEMORY_MS) or 0
    rate = (tonumber(rate) or 0) * fading + n * 1000 / MEMORY_MS
    gather('HSET', PREFIX .. 'pace', field, string.format('%.6f %s %s', rate, NOW_TEXT, first or NOW_TEXT))
  end
end

-- What most attempts are: the first of a fire that succeeds, of this instance, with nothing noted. It is read from its text,
-- and nothing is made of it but what is written; that in a few commands for all of them. Lane -> those that end in it.
local BY_US, SUCCEEDED = ',"instance":' .. US, ',"attempt":1,"instance_id":' .. US
local SETTLED, PLAIN_ENDS = ',"attempt":1,"status":"succeeded","started_at":', '^%d*\n(%d+)\n\n%d+\n()'
local plain_ids, plain_jobs, plain_stats, plain_leases = {}, {}, {}, {}
local ours, its_token

local function write_plain()
  for lane, ids in pairs(plain_leases) do write_all('ZREM', PREFIX .. 'leases:' .. lane, ids) end
  write_all('HDEL', RUNS, plain_ids)
  write_all('HDEL', PAYLOADS, plain_ids)
  write_all('HDEL', OPEN, plain_jobs)
  write_all('HSET', STATS, plain_stats)
end

-- Let such a run succeed; false when it is another one, or when others may wait behind it.
local function succeed_plainly(id, job, token, ending)
  local text = runs_read[id]
  if type(text) ~= 'string' or first_open[job] ~= id or not no_others[job] or not ALLOWED['running>succeeded'] then return false end
  if token ~= its_token then its_token, ours = token, 'running\n1\n0\n' .. token .. '\n' .. SOURCE .. '\n' end
  if string.sub(text, 1, #ours) ~= ours then return false end
  local started, job_at = string.match(text, PLAIN_ENDS, #ours + 1)
  local lane_ends = job_at and string.find(text, '\nfire\n', job_at, true)
  local stats = lane_ends and count_success(id, job)
  if not stats then return false end
  local lane, tag = string.sub(text, job_at + #job + 1, lane_ends - 1), string.sub(text, lane_ends + #'\nfire\n')
  local leases, n = plain_leases[lane], #plain_ids
  if not leases then
    leases = {}
    plain_leases[lane] = leases
  end
  leases[#leases + 1], plain_ids[n + 1], plain_jobs[n + 1] = id, id, job
  plain_stats[2 * n + 1], plain_stats[2 * n + 2] = job, stats
  runs_read[id], first_open[job] = false, false
  unmark(id)
  emit('job.succeeded', '{' .. tag .. SUCCEEDED .. ending .. '}')
  remember(job, tag, SETTLED .. started .. BY_US, ending)
  return true
end

-- main
local stored = redis.call('GET', PREFIX .. 'batch:' .. SOURCE)
if stored then
  local number, reply = string.match(stored, '^(%d+) (.*)$')
  if number == ARGV[2] then return cjson.decode(reply) end
end

-- All runs first, and what is kept of their schedules, each in one command. One run may be named twice: what the first
-- outcome made of it is seen by the second.
local args, ids, jobs, job_of, verdicts = ARGV, {}, {}, {}, {}
local last = #args
for i = 3, last, 5 do
  local id = args[i]
  ids[#ids + 1] = id
  local job_ends = string.find(id, '@', 1, true) -- a one-shot has no schedule
  if job_ends then
    local job = string.sub(id, 1, job_ends - 1)
    jobs[#jobs + 1], job_of[id] = job, job
  end
end
load_all(ids)
prepare_stats(jobs)
prepare_open(jobs)

for i = 3, last, 5 do
  local id, token, outcome, ending, more = unpack(args, i, i + 4)
  local job, verdict = job_of[id], 'lost'
  if outcome == 'succeeded' and job and succeed_plainly(id, job, token, ending) then
    verdict = 'settled'
  else
    local run = load(id)
    if run and run.status == 'running' and run.owner == SOURCE and run.token == token then
      local began = run.started
      settle(run, outcome, ending, more ~= '' and cjson.decode(more))
      if run.reason == 'one_shot' and run.status ~= 'queued' then note_pace(run, began, outcome == 'succeeded') end
      verdict = 'settled'
    end
  end
  verdicts[#verdicts + 1] = verdict
end
if next(ended) then write_pace() end
verdicts[#verdicts + 1] = ready
redis.call('SET', PREFIX .. 'batch:' .. SOURCE, ARGV[2] .. ' ' .. cjson.encode(verdicts), 'EX', 3600)
return verdicts
