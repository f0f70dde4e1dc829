-- forget_looks: count a worker no more, or a region of which nothing fails (worker id '').
-- ARGV: source, worker id, provider's region
if ARGV[2] ~= '' then
  forget_looks(ARGV[2], ARGV[3])
elseif redis.call('ZCARD', mon('looks_failed', ARGV[3])) == 0 then
  redis.call('SREM', mon('regions_failing'), ARGV[3])
end
return 1
