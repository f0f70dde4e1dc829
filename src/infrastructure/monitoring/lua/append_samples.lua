-- append_samples: store samples and tell them, each for itself. A sample's id is its time, so the same or an older one is refused.
-- What seldom changes (names, reasons, mount points) is the sample's shape, kept once in a hash beside the stream under a
-- number that only grows along it; so when entries are trimmed, the shapes below the oldest entry's can go.
-- ARGV: source, then of each: worker id, time (ms), shape (JSON), event data, correlation id, silence counts from (ms),
--       provider's region, how many words follow, { field, value } ...
-- Reply: for each 'stored', 'late' (not newer than the last, or beyond retention), 'ahead' (of the store's clock) or 'gone'
local function append(id, time, shape, data, correlation, heard, region, ...)
  local ms = tonumber(time)
  if redis.call('HEXISTS', mon('workers'), id) == 0 then
    return 'gone'
  end
  if ms > now + AHEAD_MS then
    return 'ahead'
  end
  local stream, shapes = mon('samples', id), mon('shapes', id)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if ms <= now - KEPT_MS or (last and tonumber(string.match(last[1], '^%d+')) >= ms) then
    return 'late'
  end

  local number = redis.call('HGET', shapes, 'last')
  local is_new = not number or redis.call('HGET', shapes, number) ~= shape
  if is_new then
    number = whole((tonumber(number) or 0) + 1)
    redis.call('HSET', shapes, 'last', number, number, shape)
  end
  redis.call('XADD', stream, 'MINID', '~', whole(now - KEPT_MS), time .. '-0', 'h', number, ...)
  redis.call('XTRIM', stream, 'MAXLEN', '~', KEPT_COUNT)
  if is_new then
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local keep = tonumber(oldest[2][2])
    for gone = tonumber(redis.call('HGET', shapes, 'first') or '1'), keep - 1 do
      redis.call('HDEL', shapes, whole(gone))
    end
    redis.call('HSET', shapes, 'first', whole(keep))
  end
  redis.call('PEXPIRE', stream, KEPT_MS)
  redis.call('PEXPIRE', shapes, KEPT_MS)
  redis.call('ZADD', mon('heard'), 'GT', heard, id)
  look_succeeded(id, region)
  emit('worker.metrics.collected', data, correlation)
  return 'stored'
end

local replies, at, HEAD = {}, 2, 8
while at <= #ARGV do
  local words = tonumber(ARGV[at + HEAD - 1])
  local id, time, shape, data, correlation, heard, region = unpack(ARGV, at, at + HEAD - 2)
  replies[#replies + 1] = append(id, time, shape, data, correlation, heard, region, unpack(ARGV, at + HEAD, at + HEAD + words - 1))
  at = at + HEAD + words
end
return replies
