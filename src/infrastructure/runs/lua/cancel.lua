-- cancel: end runs on a person's word. Claims are revoked here; their owners hear of it and cancel the bodies.
-- ARGV: instance, why, '1' = also what executes, run id...
-- Reply: { { run id, status it had ('' = unknown) } ... }
local reply, revoked, had = {}, {}, {}
for i = 4, #ARGV do
  local run = load(ARGV[i])
  reply[#reply + 1] = { ARGV[i], run and run.status or '' }
  if run and ALLOWED[run.status .. '>cancelled'] and (run.status ~= 'running' or ARGV[3] == '1') then
    had[run.id] = run.status
    if run.status == 'running' then revoked[#revoked + 1] = run.id end
    finish(run, 'cancelled', 'job.cancelled', ',"why":' .. quote(ARGV[2]), {})
  end
end
if next(had) then record(nil, cjson.encode({ runs = had })) end
redis.call('PUBLISH', PREFIX .. 'wake', #revoked > 0 and ('cancel ' .. table.concat(revoked, ' ')) or 'ready')
return reply
