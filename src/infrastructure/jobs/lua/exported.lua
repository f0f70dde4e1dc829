-- exported: the history has these runs, as they were when they ended then; whoever was run again since stays.
-- ARGV: instance, then id, ended (ms) ...
-- Reply: how many are let go
local done = {}
for i = 2, #ARGV, 2 do
  local ended = redis.call('ZSCORE', PREFIX .. 'export', ARGV[i])
  if ended and int(tonumber(ended)) == ARGV[i + 1] then done[#done + 1] = ARGV[i] end
end
let_go('export', done)
return #done
