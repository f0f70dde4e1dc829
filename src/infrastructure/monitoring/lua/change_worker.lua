-- change_worker: replace a worker, if it is still as it was read; tell when its status changed.
-- ARGV: source, worker id, worker as read, worker as it is to be, event data ('' = the status stayed)
-- Reply: { 1, '' } or { 0, worker found instead ('' = gone) }
local found = redis.call('HGET', mon('workers'), ARGV[2]) or ''
if found ~= ARGV[3] then
  return { 0, found }
end
redis.call('HSET', mon('workers'), ARGV[2], ARGV[4])
if ARGV[5] ~= '' then
  emit('worker.status.changed', ARGV[5])
end
record()
return { 1, '' }
