-- rerun: queue jobs again that are over without success, on a person's word.
-- ARGV: instance, why, job ids...
-- Reply: { { id, status it had ('' = unknown) } ... }; what succeeded, or is not over, stays as it is
local reply, again = {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local run = load(id)
  reply[#reply + 1] = { id, run and run.status or '' }
  if run and run.reason == 'one_shot' and ALLOWED[run.status .. '>queued'] and noted(run, 'ended') then
    move(run, 'queued')
    run.retries, run.started = 0, ''
    for _, name in ipairs({ 'ended', 'ending', 'by', 'error', 'progress', 'message', 'takeovers', 'stopped' }) do note(run, name, nil) end
    run.order = order_at(run, NOW)
    for _, kept in ipairs({ 'done', 'dead', 'export' }) do redis.call('ZREM', PREFIX .. kept, id) end
    redis.call('ZADD', PREFIX .. 'oneshots', NOW_TEXT, id)
    add_open(run)
    make_ready(id, run.lane, run.order)
    announce('job.queued', run, ',"why":' .. quote(ARGV[2]))
    again[#again + 1] = id
  end
end
if #again > 0 then
  record(nil, cjson.encode({ runs = again }))
  redis.call('PUBLISH', PREFIX .. 'wake', 'ready')
end
return reply
