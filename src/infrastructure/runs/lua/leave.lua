-- leave: an instance that stops says so.
-- ARGV: instance
local announcement = redis.call('HGET', PREFIX .. 'instances', SOURCE)
redis.call('HDEL', PREFIX .. 'instances', SOURCE)
redis.call('ZREM', PREFIX .. 'beats', SOURCE)
redis.call('DEL', PREFIX .. 'batch:' .. SOURCE)
if announcement then emit('instance.left', announcement) end
return 'ok'
