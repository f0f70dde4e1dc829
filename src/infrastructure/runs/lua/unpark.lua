-- unpark: let parked runs go on.
-- ARGV: instance, job id
-- Reply: the runs that go on; what waits for an instance that knows it goes on by itself
local resumed = {}
local ids = open_runs(ARGV[2])
if load(ARGV[2]) then ids[#ids + 1] = ARGV[2] end -- a one-shot is a run of its own name
for _, id in ipairs(ids) do
  local why = redis.call('HGET', PREFIX .. 'parked', id)
  if why and not string.find(why, '^no running instance knows ') then
    redis.call('HDEL', PREFIX .. 'parked', id)
    local run = load(id)
    if run and run.status == 'queued' then
      note(run, 'takeovers', nil)
      make_ready(id, run.lane, run.order)
      announce('job.queued', run, ',"why":"resumed"')
      resumed[#resumed + 1] = id
    end
  end
end
if #resumed > 0 then
  record(nil, cjson.encode({ runs = resumed }))
  redis.call('PUBLISH', PREFIX .. 'wake', 'ready')
end
return resumed
