-- claim: take over lapsed runs and take ready ones, oldest first, at most as many as there are free slots.
-- ARGV: instance, lease_ms[@deadline], limit, takeover_limit,
--   rules: JSON { queues = { name = { weight, limit, rate, burst } }, jobs = { name = { limit, rate, burst } } } or '',
--   slots that it offers, what it takes (see offer) or '', '<job>@<version>' that this instance knows...
-- Reply: { now, next look at `later` or '', runs left ready for want of slots, { tag, payload, lane, attempt, retries, token } ...,
--   how many of them were taken over, ready runs that a limit holds back }
local lease, limit, takeover_limit, RULES = unless_late(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if not lease then return { NOW_TEXT, '', 0, {}, 0, 0 } end
local quiet_until = beat(lease)
local claimed, left, taken_over = {}, 0, 0

local rules = RULES ~= '' and cjson.decode(RULES) or { queues = {}, jobs = {} }
local all, lanes = lanes_known(8)

-- How many runs of a queue or a job execute, on whichever instance.
local function executing(name)
  local n = 0
  for _, lane in ipairs(all) do
    if lane.queue == name or lane.job == name then n = n + redis.call('ZCARD', PREFIX .. 'leases:' .. lane.name) end
  end
  return n
end

local later = PREFIX .. 'later'
local ripe = redis.call('ZRANGEBYSCORE', later, '-inf', NOW_TEXT, 'LIMIT', 0, 1000)
load_all(ripe)
for _, id in ipairs(ripe) do
  redis.call('ZREM', later, id)
  local run = load(id)
  if run then
    run.order = order_at(run, NOW)
    touch(run)
    if run.status == 'retrying' then
      move(run, 'queued')
      announce('job.queued', run, '')
    end
    make_ready(id, run.lane, run.order)
  end
end

expire_overdue()

local next_look
local function look_at(ms) if ms and (not next_look or ms < next_look) then next_look = ms end end
look_at(tonumber(redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')[2]))
look_at(tonumber(redis.call('ZRANGE', PREFIX .. 'expiring', 0, 0, 'WITHSCORES')[2]))

local lease_end = int(NOW + lease)
local function take_one(run)
  own(run, SOURCE, lease_end)
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
    take_one(run)
    taken_over = taken_over + 1
  end
end

if NOW >= quiet_until then
  for _, lane in ipairs(lanes) do
    if #claimed >= limit then break end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'leases:' .. lane.name, '-inf', '(' .. NOW_TEXT, 'LIMIT', 0, limit - #claimed)) do
      take_over(id, lane.name)
    end
  end
else
  -- A lease that ends later than any can was made before the store's clock was put back: nobody may have it any more.
  for _, lane in ipairs(lanes) do
    local leases = PREFIX .. 'leases:' .. lane.name
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. int(NOW + LONGEST_LEASE_MS), '+inf', 'LIMIT', 0, 1000)) do
      redis.call('ZADD', leases, lease_end, id)
    end
  end
end

-- What each queue and each job may have more: runs, and tokens of a rate, which are kept as the time at which their bucket
-- is full again (GCRA, ITU-T I.371).
local free, rooms, rated = limit - #claimed, {}, {}
local function tokens_of(name, rule)
  local every = 1000 / rule.rate
  rated[name] = { every = every, burst = rule.burst, full_at = math.max(tonumber(redis.call('HGET', PREFIX .. 'rates', name) or 0), NOW) }
  return math.floor(rule.burst - (rated[name].full_at - NOW) / every + 1e-6)
end

local function make_room(name, rule)
  local room = rule.limit and rule.limit - executing(name)
  local tokens = rule.rate and tokens_of(name, rule)
  rooms[name] = room and tokens and math.min(room, tokens) or room or tokens or nil
end
for queue, rule in pairs(rules.queues) do make_room('queue:' .. queue, rule) end
for job, rule in pairs(rules.jobs) do make_room('job:' .. job, rule) end

local function has_room(name) return rooms[name] == nil or rooms[name] > 0 end
local function use_room(name)
  if rooms[name] then rooms[name] = rooms[name] - 1 end
  if rated[name] then rated[name].full_at = rated[name].full_at + rated[name].every end
end

-- queue -> its lanes in which something is ready, each with its first runs in order
local queues, blocked, aside, ids = {}, 0, 0, {}
for _, lane in ipairs(lanes) do
  local n = redis.call('ZCARD', PREFIX .. 'ready:' .. lane.name)
  left = left + n
  if n > 0 and not (has_room(lane.queue) and has_room(lane.job)) then
    blocked = blocked + n
  elseif n > 0 and free > 0 then
    lane.found, lane.at = redis.call('ZRANGE', PREFIX .. 'ready:' .. lane.name, 0, free - 1, 'WITHSCORES'), 1
    queues[lane.queue] = queues[lane.queue] or {}
    table.insert(queues[lane.queue], lane)
    for i = 1, #lane.found, 2 do ids[#ids + 1] = lane.found[i] end
  end
end
load_all(ids)

-- The lane of a queue whose first run comes before those of the others; nil when none may go.
local function first_lane(queue)
  local best
  for _, lane in ipairs(has_room(queue) and queues[queue] or {}) do
    local id = lane.found[lane.at]
    if id and has_room(lane.job) then
      lane.score = tonumber(lane.found[lane.at + 1])
      if not best or lane.score < best.score or (lane.score == best.score and id < best.found[best.at]) then best = lane end
    end
  end
  return best
end

-- Stride scheduling (Waldspurger 1995): each queue has a clock that goes on by 1 / weight with each of its runs, and the
-- one that is behind is next. A queue that had nothing to do does not get the time back. Nobody counts while one is alone.
local clocks, floor, used = {}, 0, {}
local is_shared = next(queues) and next(queues, (next(queues)))
if is_shared then floor = tonumber(redis.call('HGET', PREFIX .. 'shares', '.') or 0) end
for queue in pairs(queues) do
  clocks[queue] = is_shared and math.max(tonumber(redis.call('HGET', PREFIX .. 'shares', queue) or 0), floor) or 0
end

local function next_lane()
  local best, lane
  for queue, clock in pairs(clocks) do
    if not best or clock < clocks[best] or (clock == clocks[best] and queue < best) then
      local first = first_lane(queue)
      if first then best, lane = queue, first end
    end
  end
  return lane
end

local function advance(queue)
  local rule = rules.queues[string.sub(queue, #'queue:' + 1)]
  floor = clocks[queue]
  clocks[queue] = floor + 1 / (rule and rule.weight or 1)
  used[queue] = true
end

while free > 0 do
  local lane = next_lane()
  if not lane then break end
  local id = lane.found[lane.at]
  lane.at = lane.at + 2
  gather('ZREM', PREFIX .. 'ready:' .. lane.name, id)
  left = left - 1
  local run = load(id)
  if run and run.status == 'queued' then
    if takes_place(run) then
      take_one(run)
      free = free - 1
      use_room(lane.queue)
      use_room(lane.job)
      advance(lane.queue)
    else
      aside = aside + 1
    end
  end
end

if is_shared and next(used) then
  gather('HSET', PREFIX .. 'shares', '.', string.format('%.6f', floor))
  for queue in pairs(used) do gather('HSET', PREFIX .. 'shares', queue, string.format('%.6f', clocks[queue])) end
end
for name, rate in pairs(rated) do
  if rate.full_at > NOW then gather('HSET', PREFIX .. 'rates', name, string.format('%.3f', rate.full_at)) end
  if rooms[name] <= 0 then look_at(math.max(rate.full_at - (rate.burst - 1) * rate.every, NOW + 1)) end
end
-- With slots left over, it is a limit that holds back what is still ready; behind what was put aside there may be more.
if free > 0 and aside == 0 then blocked, left = left, 0 else left = left - blocked end
offer(math.min(tonumber(ARGV[6]), free), ARGV[7])

ids = {}
for i, run in ipairs(claimed) do ids[i] = run.id end
local payloads = fetch(PAYLOADS, ids)
for i, run in ipairs(claimed) do
  claimed[i] = { run.tag, payloads[run.id] or '', run.lane, run.attempt, run.retries, run.token }
end
return { NOW_TEXT, next_look and int(math.ceil(next_look)) or '', left, claimed, taken_over, blocked }
