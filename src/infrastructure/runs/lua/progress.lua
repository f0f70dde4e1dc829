-- progress: note how far runs have come, for those whose claim still holds.
-- ARGV: instance, then run id, token, percent, message (JSON) ...
for i = 2, #ARGV, 4 do
  local run = load(ARGV[i])
  if run and run.status == 'running' and run.token == ARGV[i + 1] then
    note(run, 'progress', ARGV[i + 2])
    note(run, 'message', ARGV[i + 3])
    announce('job.progress', run, ',"progress":' .. ARGV[i + 2] .. ',"message":' .. ARGV[i + 3])
  end
end
return 'ok'
