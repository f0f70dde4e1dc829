-- Changing a schedule: the state is compared as a whole string, so whoever changes it has seen it. Of what is in it, Lua
-- reads who it is and writes nothing: cjson would round and reorder.

-- Return incarnation, generation and lane; one that another version wrote so that it cannot be read is told by its text.
local function identity(state)
  local readable, facts = pcall(cjson.decode, state)
  if not readable or type(facts) ~= 'table' or not facts.incarnation then return state, '', '' end
  return facts.incarnation, int(facts.generation or 0), facts.lane or ''
end

-- Cancel the runs of a job that no instance is executing; return the executing ones, which may end but not retry.
local function cancel_waiting(job, why)
  local running = {}
  redis.call('DEL', PREFIX .. 'backlog:' .. job)
  for _, id in ipairs(open_runs(job)) do
    local run = load(id)
    if not run then
      remove_open(job, id)
    elseif run.status == 'running' then
      running[#running + 1] = id
      note(run, 'stopped', true)
    else
      finish(run, 'cancelled', 'job.cancelled', ',"why":' .. quote(why), {})
    end
  end
  return running
end

-- A retry that waits gives way to a newer run of its schedule. Returns how many runs that made ready.
local function supersede(run)
  return finish(run, 'failed', 'job.failed', ',"superseded":true,"error":' .. quote(noted(run, 'error') or cjson.null), {})
end

local function remove(id, lane)
  redis.call('ZREM', PREFIX .. 'due:' .. lane, id)
  if redis.call('HDEL', PREFIX .. 'strays', id) == 1 then redis.call('SREM', PREFIX .. 'strays:' .. lane, id) end
  redis.call('HDEL', PREFIX .. 'schedules', id)
  redis.call('HDEL', STATES, id)
  redis.call('HDEL', PREFIX .. 'stats', id)
  redis.call('HDEL', PREFIX .. 'limits', id)
  redis.call('ZREM', PREFIX .. 'ids', id)
  stats_of[id] = false
  redis.call('DEL', PREFIX .. 'history:' .. id)
end

-- `look` is '' for what is not to be taken (paused, parked).
local function write(id, state, lane, look)
  redis.call('HSET', STATES, id, state)
  if look == '' then
    redis.call('ZREM', PREFIX .. 'due:' .. lane, id)
  else
    redis.call('ZADD', PREFIX .. 'due:' .. lane, look, id)
  end
end

-- Note how many runs of a schedule may be out at once, and let so many go. Most schedules allow one: that is not noted.
local function keep_limit(id, limit)
  if limit > 1 then
    redis.call('HSET', PREFIX .. 'limits', id, limit)
  else
    redis.call('HDEL', PREFIX .. 'limits', id)
  end
  local ready = 0
  while release_next(id) > 0 do ready = ready + 1 end
  if ready > 0 then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') end
end
