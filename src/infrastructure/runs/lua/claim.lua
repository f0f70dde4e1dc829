-- claim: take over lapsed runs and take ready ones, oldest first, at most as many as there are free slots.
-- ARGV: instance, lease_ms[@deadline], limit, takeover_limit, lane...
-- Reply: { now, next look at `later` or '', runs still ready, { tag, payload, lane, attempt, retries, token } ...,
--   how many of them were taken over }
local lease, limit, takeover_limit = unless_late(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not lease then return { NOW_TEXT, '', 0, {}, 0 } end
local quiet_until = beat(lease)
local claimed, left, taken_over = {}, 0, 0

local later = PREFIX .. 'later'
local ripe = redis.call('ZRANGEBYSCORE', later, '-inf', NOW_TEXT, 'LIMIT', 0, 1000)
load_all(ripe)
for _, id in ipairs(ripe) do
  redis.call('ZREM', later, id)
  local run = load(id)
  if run then
    run.order = NOW_TEXT
    touch(run)
    if run.status == 'retrying' then
      move(run, 'queued')
      announce('job.queued', run, '')
    end
    make_ready(id, run.lane, NOW_TEXT)
  end
end
local first = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')

local function own(run)
  run.token = int(math.max((tonumber(run.token) or 0) + 1, NOW_US))
  run.attempt, run.owner, run.started = run.attempt + 1, SOURCE, NOW_TEXT
  move(run, 'running')
  gather('ZADD', LEASES[run.lane], int(NOW + lease), run.id)
  announce('job.started', run, ',"token":' .. quote(run.token))
  claimed[#claimed + 1] = run
end

local function take_over(id, lane)
  local run = load(id)
  if not run or run.status ~= 'running' then
    redis.call('ZREM', PREFIX .. 'leases:' .. lane, id)
    return
  end
  announce('job.lost', run, ',"why":"the lease of its owner lapsed","taken_over_by":' .. quote(SOURCE))
  count(id, run.job, { lost = 1 }, {})
  local story = tell_story(run, 'lost: the lease of its owner lapsed')
  local takeovers = (noted(run, 'takeovers') or 0) + 1
  note(run, 'takeovers', takeovers)
  if takeovers > takeover_limit then
    park(run, 'it has outlived ' .. takeovers .. ' owners, the last was ' .. run.owner, ',"attempts":' .. story)
  else
    own(run)
    taken_over = taken_over + 1
  end
end

if NOW >= quiet_until then
  for i = 5, #ARGV do
    if #claimed >= limit then break end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'leases:' .. ARGV[i], '-inf', '(' .. NOW_TEXT, 'LIMIT', 0, limit - #claimed)) do
      take_over(id, ARGV[i])
    end
  end
else
  -- A lease that ends later than any can was made before the store's clock was put back: nobody may have it any more.
  for i = 5, #ARGV do
    local leases = PREFIX .. 'leases:' .. ARGV[i]
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. int(NOW + LONGEST_LEASE_MS), '+inf', 'LIMIT', 0, 1000)) do
      redis.call('ZADD', leases, int(NOW + lease), id)
    end
  end
end

local candidates = {}
local free = limit - #claimed
for i = 5, #ARGV do
  local key = PREFIX .. 'ready:' .. ARGV[i]
  if free > 0 then
    local found = redis.call('ZRANGE', key, 0, free - 1, 'WITHSCORES')
    for j = 1, #found, 2 do candidates[#candidates + 1] = { found[j], tonumber(found[j + 1]), key } end
  end
  left = left + redis.call('ZCARD', key)
end
local ids = {}
for i, candidate in ipairs(candidates) do ids[i] = candidate[1] end
load_all(ids)
table.sort(candidates, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
for i = 1, math.min(free, #candidates) do
  local id, key = candidates[i][1], candidates[i][3]
  gather('ZREM', key, id)
  left = left - 1
  local run = load(id)
  if run and run.status == 'queued' then own(run) end
end
ids = {}
for i, run in ipairs(claimed) do ids[i] = run.id end
local payloads = fetch(KEY.payloads, ids)
for i, run in ipairs(claimed) do
  claimed[i] = { run.tag, payloads[run.id] or '', run.lane, run.attempt, run.retries, run.token }
end
return { NOW_TEXT, first[2] and int(tonumber(first[2])) or '', left, claimed, taken_over }
