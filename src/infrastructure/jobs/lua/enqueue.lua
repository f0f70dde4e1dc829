-- enqueue: accept jobs, each whole or not at all.
-- ARGV: instance, JSON { queue = how many of it may wait }, how long an idempotency key is kept (ms), then for each job:
--   id, lane, tag, payload, notes (JSON or ''), due_ms ('' = now), expires_ms ('' = never), idempotency key ('' = none),
--   digest of what was asked for
-- Reply: for each { 'created' | 'same' | 'conflict' | 'taken' | 'full', id of the job, its status, queued at (ms) }
-- 'same': its key, and what it asks for, were seen before: the job of then. 'conflict': the key was, for something else.
local most, key_ttl = cjson.decode(ARGV[2]), ARGV[3]
local FIELDS, FIRST = 9, 4

local waiting, schedules = {}, nil
local function count_waiting(queue)
  if waiting[queue] then return waiting[queue] end
  local all, n = lanes_known(#ARGV + 1), 0
  for _, lane in ipairs(all) do
    if lane.queue == 'queue:' .. queue then n = n + redis.call('ZCARD', READY[lane.name]) end
  end
  waiting[queue] = n
  return n
end

local function answer(verdict, id, run)
  return { verdict, id, run and run.status or '', run and string.match(run.fixed, '^%d+') or '' }
end

local function known_by(key, digest)
  local found = redis.call('GET', PREFIX .. 'idem:' .. key)
  if not found then return end
  local then_digest, id = string.match(found, '^(%S+) (.*)$')
  return answer(then_digest == digest and 'same' or 'conflict', id, load(id))
end

local now_ready, later = false, false
local function place(run, due)
  if due ~= '' and tonumber(due) > NOW then
    run.order, later = due, true
    create(run)
    announce('job.queued', run, '')
    gather('ZADD', KEY.later, due, run.id)
  else
    run.order, now_ready = order_at(run, NOW), true
    create_ready(run, '')
  end
end

local function enqueue(at)
  local id, lane, tag, payload, notes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local due, expires, key, digest = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local before = key ~= '' and known_by(key, digest)
  if before then return before end
  if load(id) or schedules[id] then return answer('taken', id, load(id)) end
  local _, _, queue = split_lane(lane)
  if most[queue] and count_waiting(queue) >= most[queue] then return { 'full', id, '', tostring(waiting[queue]) } end
  local run = { id = id, job = id, lane = lane, reason = 'one_shot', tag = tag, payload = payload }
  if notes ~= '' then run.more = cjson.decode(notes) end
  place(run, due)
  if most[queue] then waiting[queue] = waiting[queue] + 1 end
  gather('ZADD', KEY.oneshots, NOW_TEXT, id)
  if expires ~= '' then gather('ZADD', KEY.expiring, expires, id) end
  if key ~= '' then redis.call('SET', PREFIX .. 'idem:' .. key, digest .. ' ' .. id, 'PX', key_ttl) end
  return answer('created', id, run)
end

local ids, lanes, reply, created = {}, {}, {}, 0
for at = FIRST, #ARGV, FIELDS do
  ids[#ids + 1] = ARGV[at]
  lanes[ARGV[at + 1]] = true
end
load_all(ids)
schedules = fetch(KEY.states, ids)
for lane in pairs(lanes) do redis.call('SADD', PREFIX .. 'lanes', lane) end
for at = FIRST, #ARGV, FIELDS do
  local one = enqueue(at)
  if one[1] == 'created' then created = created + 1 end
  reply[#reply + 1] = one
end
if created > 0 then record() end
if now_ready then redis.call('PUBLISH', PREFIX .. 'wake', 'ready') elseif later then redis.call('PUBLISH', PREFIX .. 'wake', 'due') end
return reply
