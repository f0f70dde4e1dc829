-- sweep: park what waits for an instance that knows it, and let go on what somebody knows again. Nothing is moved: nobody
-- takes what nobody knows, so a mark, its reason and an event are all it needs.
-- ARGV: instance, lease_ms, '1' = also when another instance has just swept
-- Reply: '1' when there is more to do at once, else ''
local lease, meta = tonumber(ARGV[2]), PREFIX .. 'meta'
local PAGE = 500
-- A lane is unknown when nobody has announced it for so long, so that a rolling restart parks nothing.
local GRACE_LEASES = 2
local UNKNOWN = 'no running instance knows '
local more, executing = '', false

-- Which versions of each job running instances know.
local versions = {}
local function note_version(lane)
  local name, version = string.match(lane, '^(.*)@(%d+)$')
  if name then
    versions[name] = versions[name] or {}
    table.insert(versions[name], tonumber(version))
  end
end

local function reason_of(lane)
  local name, version = string.match(split_lane(lane), '^(.*)@(%d+)$')
  local others, only, hint = versions[name or ''], '', ''
  if others then
    table.sort(others)
    only = ' (only in version ' .. table.concat(others, ', ') .. ')'
    if others[#others] > tonumber(version) then hint = ', or give it an upgrade from version ' .. version end
  end
  return UNKNOWN .. "'" .. (name or lane) .. "' in version " .. (version or '?') .. only ..
    '; start one that has it in background_jobs.modules' .. hint
end

local function known_lanes()
  local known, seen = {}, {}
  local beats = redis.call('ZRANGE', PREFIX .. 'beats', 0, -1, 'WITHSCORES')
  for i = 1, #beats, 2 do seen[beats[i]] = tonumber(beats[i + 1]) end
  for _, text in ipairs(redis.call('HVALS', PREFIX .. 'instances')) do
    local instance = cjson.decode(text)
    if NOW - (seen[instance.id] or 0) <= GRACE_LEASES * (instance.lease_ms or lease) then
      for _, lane in ipairs(instance.lanes or {}) do
        if not known[lane] then note_version(lane) end
        known[lane], executing = true, true
      end
    end
  end
  return known
end

-- Return the next page of a sorted set, up to a score; the pages follow each other from sweep to sweep.
local function next_page(name, highest)
  local offset = tonumber(redis.call('HGET', PREFIX .. 'sweep', name) or 0)
  local found = redis.call('ZRANGEBYSCORE', PREFIX .. name, '-inf', highest, 'WITHSCORES', 'LIMIT', offset, PAGE)
  if #found == 2 * PAGE then
    redis.call('HSET', PREFIX .. 'sweep', name, offset + PAGE)
  else
    redis.call('HDEL', PREFIX .. 'sweep', name)
  end
  return found
end

local function park_schedule(id, look, lane, reason)
  local text = redis.call('HGET', PREFIX .. 'strays', id)
  local mark = text and cjson.decode(text)
  if mark and mark.lane == lane and mark.at >= look then return false end
  if redis.call('HEXISTS', STATES, id) == 0 then return false end
  redis.call('HSET', PREFIX .. 'strays', id, cjson.encode({ lane = lane, at = NOW, reason = reason }))
  redis.call('SADD', PREFIX .. 'strays:' .. lane, id)
  emit('schedule.changed', '{"id":' .. quote(id) .. ',"parked":' .. quote(reason) .. ',"lane":' .. quote(lane) .. '}')
  return true
end

local function park_run(id, lane, reason)
  local run = load(id)
  if not run or redis.call('HSETNX', PREFIX .. 'parked', id, reason) == 0 then return false end
  redis.call('SADD', PREFIX .. 'strays:' .. lane, id)
  announce('job.parked', run, ',"why":' .. quote(reason))
  return true
end

local function park_page(name, highest, park_one)
  local found, parked = next_page(name, highest), false
  for i = 1, #found, 2 do parked = park_one(found[i], tonumber(found[i + 1])) or parked end
  if parked and #found == 2 * PAGE then more = '1' end
end

local function park_lane(lane)
  local reason = reason_of(lane)
  local function as_run(id) return park_run(id, lane, reason) end
  park_page('due:' .. lane, int(NOW), function(id, look) return park_schedule(id, look, lane, reason) end)
  park_page('ready:' .. lane, '+inf', as_run)
  park_page('leases:' .. lane, '(' .. int(NOW), as_run)
end

local function release_run(run)
  local why = redis.call('HGET', PREFIX .. 'parked', run.id)
  if not why or string.sub(why, 1, #UNKNOWN) ~= UNKNOWN then return end
  redis.call('HDEL', PREFIX .. 'parked', run.id)
  if run.status == 'queued' then announce('job.queued', run, ',"why":"an instance that knows it has come"') end
end

local function release_schedule(id, lane)
  local text = redis.call('HGET', PREFIX .. 'strays', id)
  if not text or cjson.decode(text).lane ~= lane then return end
  redis.call('HDEL', PREFIX .. 'strays', id)
  if redis.call('ZSCORE', PREFIX .. 'due:' .. lane, id) then
    emit('schedule.resumed', '{"id":' .. quote(id) .. ',"by":' .. quote(SOURCE) .. ',"why":"an instance that knows it has come"}')
  end
end

local function release_lane(lane)
  for _, id in ipairs(redis.call('SPOP', PREFIX .. 'strays:' .. lane, PAGE)) do
    local run = load(id)
    if run then release_run(run) else release_schedule(id, lane) end
  end
  if redis.call('EXISTS', PREFIX .. 'strays:' .. lane) == 1 then more = '1' else redis.call('HDEL', PREFIX .. 'orphans', lane) end
end

local state = redis.call('HMGET', meta, 'swept', 'nobody_gone_until')
if ARGV[3] ~= '1' and math.abs(NOW - tonumber(state[1] or 0)) < lease * 0.9 then return '' end
if NOW < tonumber(state[2] or 0) then return '' end
redis.call('HSET', meta, 'swept', int(NOW))

local known, unknown = known_lanes(), {}
for _, lane in ipairs(redis.call('SMEMBERS', PREFIX .. 'lanes')) do
  local since = tonumber(redis.call('HGET', PREFIX .. 'orphans', lane) or NOW)
  if known[split_lane(lane)] then
    if redis.call('HEXISTS', PREFIX .. 'orphans', lane) == 1 then release_lane(lane) end
  elseif NOW - since >= GRACE_LEASES * lease then
    unknown[lane] = true
    park_lane(lane)
  else
    redis.call('HSETNX', PREFIX .. 'orphans', lane, int(NOW))
  end
end
-- Where nobody executes at all, nobody makes ready what is due later, nor ends what is overdue.
if not executing then
  expire_overdue()
  park_page('later', int(NOW), function(id)
    local run = load(id)
    return run and unknown[run.lane] and park_run(id, run.lane, reason_of(run.lane))
  end)
end
return more
