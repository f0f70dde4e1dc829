-- What all scripts share. Of this text and those that follow it a script is given the paragraphs that it needs, and what
-- those need: see infrastructure/runs/parts.py. A name that stands for a whole number is replaced by it. So a paragraph is
-- whole, begins with `local`, and does nothing that matters to who does not use it. In front of all stand:
--   PREFIX SOURCE    the key prefix (KEYS[1]) and the calling instance (ARGV[1])
--   ALLOWED          the status transitions of domain.runs.run, e.g. ALLOWED['queued>running']
--   EVENTS_KEPT HISTORY_KEPT DONE_KEPT DONE_TTL_MS DEAD_KEPT DEAD_TTL_MS      retention
--   EXPORTED_AT_MOST how many settled one-shots may wait for the history, 0 where there is none
--   emit             publishes an event
-- Specs, data, states and tokens are opaque strings here.

local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)
local NOW_US = TIME[1] * 1000000 + TIME[2]

local LONGEST_LEASE_MS = 300000

local STORY_KEPT = 20

-- So many values fit on Lua's stack with safety.
local CHUNK = 1000

local function int(x) return string.format('%d', x) end -- whole numbers all; '%.0f' would cost five times as much

local NOW_TEXT = int(NOW)

local quote = cjson.encode

-- '<ms>' or '<ms>@<deadline>': a duration, and until when (ms) somebody waits for the answer. A server that was frozen reads
-- what was sent to it long ago: what its caller has given up then hides and claims nothing. Returns nil for such a call.
local function unless_late(text)
  local ms, deadline = string.match(text, '^(%d+)@?(%d*)$')
  if deadline ~= '' and NOW > tonumber(deadline) then return nil end
  return tonumber(ms)
end

-- A command from Lua costs about 3 us, one more member of a command a tenth of that: what many runs of one call write
-- into the same key is gathered, and written when the script ends. Nothing reads such a key after gathering into it.
local gathered = { HSET = {}, HDEL = {}, ZADD = {}, ZREM = {} }
local function gather(command, key, a, b)
  local lists = gathered[command]
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  local n = #list
  list[n + 1] = a
  if b then list[n + 2] = b end
end

-- Keys that are used often.
local RUNS = PREFIX .. 'runs'

local PAYLOADS = PREFIX .. 'payloads'

local STATS = PREFIX .. 'stats'

local STATES = PREFIX .. 'states'

local OPEN = PREFIX .. 'open'

-- '<job>@<version>' or '<job>@<version>#<queue>' in its parts: what an instance must know, the job, and the queue ('' for none).
local function split_lane(lane)
  local base, queue = string.match(lane, '^([^#]*)#?(.*)$')
  return base, string.match(base, '^(.*)@') or base, queue
end

-- Every lane that there ever was -> its parts; and those that an instance knows, which names them without their queues in its
-- arguments from `from` on.
local function lanes_known(from)
  local all, ours, known = {}, {}, {}
  for i = from, #ARGV do known[ARGV[i]] = true end
  for _, name in ipairs(redis.call('SMEMBERS', PREFIX .. 'lanes')) do
    local base, job, queue = split_lane(name)
    local lane = { name = name, job = 'job:' .. job, queue = 'queue:' .. queue }
    all[#all + 1] = lane
    if known[base] then ours[#ours + 1] = lane end
  end
  table.sort(ours, function(a, b) return a.name < b.name end)
  return all, ours
end

local function write_all(command, key, list)
  for i = 1, #list, CHUNK do redis.call(command, key, unpack(list, i, math.min(i + CHUNK - 1, #list))) end
end

local function write_gathered()
  for command, lists in pairs(gathered) do
    for key, list in pairs(lists) do write_all(command, key, list) end
  end
end

-- Read many fields of one hash: field -> value, false for what is not there; into `found`, if there is one.
local function fetch(key, fields, found)
  found = found or {}
  for i = 1, #fields, CHUNK do
    local values = redis.call('HMGET', key, unpack(fields, i, math.min(i + CHUNK - 1, #fields)))
    for n = 1, #values do found[fields[i + n - 1]] = values[n] end
  end
  return found
end
