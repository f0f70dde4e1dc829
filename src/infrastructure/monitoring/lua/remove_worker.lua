-- remove_worker: take a worker, if it is still as it was read, and all its samples away. Its alerts are closed by whoever
-- removes it; should that one die before, the orphans say that somebody else must.
-- ARGV: source, worker id, worker as read, event data
-- Reply: { 1, '' } or { 0, worker found instead ('' = gone) }
local found = redis.call('HGET', mon('workers'), ARGV[2]) or ''
if found == '' or found ~= ARGV[3] then
  return { 0, found }
end
redis.call('HDEL', mon('workers'), ARGV[2])
redis.call('ZREM', mon('worker_ids'), ARGV[2])
redis.call('ZREM', mon('heard'), ARGV[2])
redis.call('UNLINK', mon('samples', ARGV[2]), mon('shapes', ARGV[2]))
forget_looks(ARGV[2], region_of(found))
redis.call('SADD', mon('orphans'), ARGV[2])
emit('worker.removed', ARGV[4])
record()
return { 1, '' }
