-- enqueue: accept jobs, each whole or not at all.
-- ARGV: instance, JSON { queue = how many of it may wait }, how long an idempotency key is kept (ms), how many patterns there
--   are, then for each: lane, tag, rest of the spec, notes (JSON or ''), due_ms ('' = now), expires_ms ('' = never);
--   then for each job: the number of its pattern, id, data, '<digest> <idempotency key>' ('' = none)
--   In a pattern's tag MARK stands for the id; the digest tells what was asked for.
-- Reply: now (ms), then for each job 1 = created, or { 'same' | 'conflict' | 'taken' | 'full', id, its status, queued at (ms) }
-- 'same': its key, and what it asks for, were seen before: the job of then. 'conflict': the key was, for something else.
local most, key_ttl = cjson.decode(ARGV[2]), ARGV[3]
local FIRST, TEXTS, FIELDS, MARK = 5, 6, 4, '\1'
local first_job = FIRST + ARGV[4] * TEXTS

local waiting, schedules = {}, nil
local function count_waiting(queue)
  if waiting[queue] then return waiting[queue] end
  local all, n = lanes_known(#ARGV + 1), 0
  for _, lane in ipairs(all) do
    if lane.queue == 'queue:' .. queue then n = n + redis.call('ZCARD', PREFIX .. 'ready:' .. lane.name) end
  end
  waiting[queue] = n
  return n
end

-- A text in the pieces between its marks: with an id between them they are the text of that job.
local function pieces(text)
  local found = {}
  for piece in string.gmatch(text .. MARK, '([^' .. MARK .. ']*)' .. MARK) do found[#found + 1] = piece end
  return found
end

local created, now_ready, later = false, false, false
local function read_pattern(at)
  local lane, tag, rest, notes, due, expires = unpack(ARGV, at, at + TEXTS - 1)
  local _, _, queue = split_lane(lane)
  local run = born({ id = MARK, job = MARK, lane = lane, reason = 'one_shot', tag = tag })
  if notes ~= '' then run.more = cjson.decode(notes) end
  local is_later = due ~= '' and tonumber(due) > NOW
  run.order = is_later and due or order_at(run, NOW)
  redis.call('SADD', PREFIX .. 'lanes', lane)
  return { run = run, text = pieces(text_of(run)), event = pieces(told_of(run, '')), payload = rest .. '\n', queue = queue,
    expires = expires, is_later = is_later, place = is_later and PREFIX .. 'later' or PREFIX .. 'ready:' .. lane,
    corr = noted(run, 'corr'), trace = noted(run, 'trace') }
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

-- A job that comes alone, may run now, and is bound by no limit, is given to who offers a slot for it. Many at once are
-- claimed with one call, which is cheaper.
local HANDED_AT_MOST = 16384 -- characters
local is_alone = #ARGV < first_job + FIELDS
local function hand_over(pattern, id, data)
  if not is_alone or pattern.is_later or noted(pattern.run, 'key') or #data > HANDED_AT_MOST then return false end
  local instance, lease = take_slot(pattern.run.lane)
  if not instance then return false end
  local run = parse(id, table.concat(pattern.text, id))
  runs_read[id] = run
  own(run, instance, int(NOW + lease))
  handed[#handed + 1] = { instance, { NOW_TEXT, run.tag, pattern.payload .. data, run.lane, run.attempt, run.retries, run.token } }
  return true
end

local function create_one(pattern, id, data)
  runs_read[id] = pattern.run -- for who asks for the same job again in this call
  gather('HSET', PAYLOADS, id, pattern.payload .. data)
  emit('job.queued', table.concat(pattern.event, id), pattern.corr, pattern.trace)
  gather('ZADD', PREFIX .. 'oneshots', NOW_TEXT, id)
  if pattern.expires ~= '' then gather('ZADD', PREFIX .. 'expiring', pattern.expires, id) end
  created = true
  if hand_over(pattern, id, data) then return end
  gather('HSET', RUNS, id, table.concat(pattern.text, id))
  gather('ZADD', pattern.place, pattern.run.order, id)
  if pattern.is_later then later = true else now_ready = true end
end

local function enqueue(pattern, id, data, wish)
  local digest, key = string.match(wish, '^(%S+) (.*)$')
  local before = key and known_by(key, digest)
  if before then return before end
  if load(id) or schedules[id] then return answer('taken', id, load(id)) end
  local queue = pattern.queue
  if most[queue] then
    if count_waiting(queue) >= most[queue] then return { 'full', id, '', tostring(waiting[queue]) } end
    waiting[queue] = waiting[queue] + 1
  end
  create_one(pattern, id, data)
  if key then redis.call('SET', PREFIX .. 'idem:' .. key, digest .. ' ' .. id, 'PX', key_ttl) end
  return 1
end

local patterns, ids, reply = {}, {}, { NOW_TEXT }
for at = FIRST, first_job - 1, TEXTS do patterns[#patterns + 1] = read_pattern(at) end
for at = first_job, #ARGV, FIELDS do ids[#ids + 1] = ARGV[at + 1] end
load_all(ids)
schedules = fetch(STATES, ids)
for at = first_job, #ARGV, FIELDS do
  reply[#reply + 1] = enqueue(patterns[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
if created then record() end
if now_ready or later then redis.call('PUBLISH', PREFIX .. 'wake', now_ready and 'ready' or 'due') end
return reply
