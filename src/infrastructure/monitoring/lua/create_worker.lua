-- create_worker: register a worker that must not exist, with its event.
-- ARGV: source, worker id, worker (JSON), event data
-- Reply: 1, or 0 when the id is taken
if redis.call('HSETNX', mon('workers'), ARGV[2], ARGV[3]) == 0 then
  return 0
end
redis.call('ZADD', mon('worker_ids'), 0, ARGV[2])
emit('worker.registered', ARGV[4])
record()
return 1
