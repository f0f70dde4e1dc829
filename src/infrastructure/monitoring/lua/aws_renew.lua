-- aws_renew: keep the lease of a region, and what is being looked at under it.
-- ARGV: source, group, owner, lease (ms)
-- Reply: 1, or 0 when the lease is another's
if redis.call('GET', mon('aws_lease', ARGV[2])) ~= ARGV[3] then
  return 0
end
redis.call('PEXPIRE', mon('aws_lease', ARGV[2]), ARGV[4])
redis.call('PEXPIRE', mon('aws_flight', ARGV[2]), ARGV[4])
return 1
