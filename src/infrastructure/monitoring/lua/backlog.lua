-- backlog: read what is to be evaluated of some workers, as it is at one moment. It changes nothing.
-- ARGV: source, most samples of one worker, samples after which no further worker is read,
--       { worker id, id of the entry that the caller has at hand ('' = none) } ...
-- Reply: { version of rules, silences and regions that are down, now (ms), { region that is down ... },
--   { worker (JSON, '' = gone), schedule (JSON, '' = not monitored), { field, state ... }, { entry ... }, { shape, text ... } } ... }
-- in the order asked, all but the states empty where there is no new sample. Where the entry at hand is all there is, 1 stands
-- for the entries, and there are no shapes.
local AT_HAND = 1
local most, left = ARGV[2], tonumber(ARGV[3])
local reply = { redis.call('GET', mon('policy')) or '0', whole(now), redis.call('HKEYS', mon('regions_down')) }
for i = 4, #ARGV, 2 do
  if left <= 0 then
    break
  end
  local id = ARGV[i]
  local states = redis.call('HGETALL', mon('alerts', id))
  local cursor = '0'
  for n = 1, #states, 2 do
    if states[n] == '.cursor' then
      cursor = states[n + 1]
    end
  end
  local found = redis.call('XRANGE', mon('samples', id), '(' .. cursor .. '-0', '+', 'COUNT', most)
  local worker, schedule, shapes, known = '', '', {}, {}
  if #found > 0 then
    left = left - #found
    worker = redis.call('HGET', mon('workers'), id) or ''
    schedule = redis.call('HGET', PREFIX .. 'schedules', 'worker-metrics-' .. id) or ''
    if #found == 1 and found[1][1] == ARGV[i + 1] then
      found = AT_HAND
    else
      for _, entry in ipairs(found) do
        local shape = entry[2][2] -- the first field of an entry is its shape's number, see append_samples
        if not known[shape] then
          known[shape] = true
          shapes[#shapes + 1] = shape
          shapes[#shapes + 1] = redis.call('HGET', mon('shapes', id), shape) or ''
        end
      end
    end
  end
  reply[#reply + 1] = { worker, schedule, states, found, shapes }
end
return reply
