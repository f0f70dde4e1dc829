-- take: hide what is due from the other instances for a while, and return it.
-- ARGV: instance, hide_ms[@deadline], limit, lane...
-- Reply: { now, next look or '', { id, state } ... }
local hide, limit = unless_late(ARGV[2]), tonumber(ARGV[3])
if not hide then return { NOW_TEXT, '', {} } end
local taken, next_look, hidden_until = {}, nil, int(NOW + hide)

local function take(due)
  local ids = redis.call('ZRANGEBYSCORE', due, '-inf', NOW_TEXT, 'LIMIT', 0, limit - #taken)
  local states = fetch(STATES, ids)
  local hidden = {}
  for _, id in ipairs(ids) do
    if states[id] then
      taken[#taken + 1] = { id, states[id] }
      hidden[#hidden + 1] = hidden_until
      hidden[#hidden + 1] = id
    else
      redis.call('ZREM', due, id)
    end
  end
  for i = 1, #hidden, CHUNK do redis.call('ZADD', due, unpack(hidden, i, math.min(i + CHUNK - 1, #hidden))) end
end

for i = 4, #ARGV do
  local due = PREFIX .. 'due:' .. ARGV[i]
  if #taken < limit then take(due) end
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] and (not next_look or tonumber(first[2]) < next_look) then next_look = tonumber(first[2]) end
end
return { NOW_TEXT, next_look and int(next_look) or '', taken }
