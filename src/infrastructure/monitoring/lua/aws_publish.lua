-- aws_publish: note what was seen of some instances; the last part of a round gives the lease back.
-- What was seen is true, whoever has the lease by now.
-- ARGV: source, group, owner, '1' = last part, { id, kept for (ms), seen (JSON) } ...
-- Reply: 1
local group = ARGV[2]
local flight, lease = mon('aws_flight', group), mon('aws_lease', group)
local is_mine = redis.call('GET', lease) == ARGV[3]
for i = 5, #ARGV, 3 do
  redis.call('SET', mon('aws_seen', group, ARGV[i]), whole(now) .. ' ' .. ARGV[i + 2], 'PX', ARGV[i + 1])
  if is_mine then
    redis.call('SREM', flight, ARGV[i])
  end
end
if is_mine and ARGV[4] == '1' then
  redis.call('DEL', flight, lease)
end
return 1
