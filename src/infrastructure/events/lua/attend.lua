#!lua flags=allow-oom
-- Make sure that a group exists on its streams, and tell how many entries were trimmed before it read them.
-- KEYS: streams. ARGV: group, then for each stream where a new group begins: '$', '0', or the id of an entry, after
-- which it goes on if the stream still is the one that had it, else at its beginning.
-- Returns for each stream {1 if the group was made, entries lost, the last entry that the group read}.
--
-- Redis counts what a group read (entries-read). If that is less than what was trimmed, and the group's last entry is
-- gone too, the difference was lost; then the counter is set to where the group really stands, so that a loss is told once.
-- All in one call: SETID between another member's reads would turn the group back.
local group = ARGV[1]

local function map(flat)
  local named = {}
  for n = 1, #flat, 2 do named[flat[n]] = flat[n + 1] end
  return named
end

local function older(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_seq) < tonumber(b_seq)
end

local function find(key)
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local info = map(flat)
    if info['name'] == group then return info end
  end
end

local function make(key, from, stream)
  local last = stream and stream['last-generated-id'] or '0-0'
  local added, trimmed = 0, 0
  if stream then added, trimmed = stream['entries-added'], stream['entries-added'] - stream['length'] end
  if from == '$' or from == last then
    redis.call('XGROUP', 'CREATE', key, group, last, 'MKSTREAM', 'ENTRIESREAD', added)
    return last
  elseif from == '0' or older(last, from) then
    redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM', 'ENTRIESREAD', trimmed)
    return '0-0'
  end
  redis.call('XGROUP', 'CREATE', key, group, from, 'MKSTREAM')
  return from
end

local function lost(key, stream, info)
  local read, trimmed = info['entries-read'], stream['entries-added'] - stream['length']
  if not read or trimmed <= read then return 0 end
  local at, first = info['last-delivered-id'], stream['first-entry']
  if first and not older(at, first[1]) then return 0 end
  redis.call('XGROUP', 'SETID', key, group, at, 'ENTRIESREAD', trimmed)
  return trimmed - read
end

local answer = {}
for i, key in ipairs(KEYS) do
  local stream = redis.call('EXISTS', key) == 1 and map(redis.call('XINFO', 'STREAM', key))
  local info = stream and find(key)
  if info then
    answer[i] = { 0, lost(key, stream, info), info['last-delivered-id'] }
  else
    answer[i] = { 1, 0, make(key, ARGV[i + 1], stream) }
  end
end
return answer
