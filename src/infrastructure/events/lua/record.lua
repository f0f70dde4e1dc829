-- Prelude for scripts that do what somebody asked for: writes that down in the same atomic call.
--
-- With a second key, a stream, the last six arguments are a note about what was asked for; they are taken off ARGV here, so
-- that the script does not see them: entries kept, their longest age (ms), what is done, to what, who asked, JSON.
-- `record` writes the note, once a call; the script calls it when the change took effect. Without a note it does nothing.
local NOTE = false
if KEYS[2] then
  NOTE = {}
  for i = 6, 1, -1 do NOTE[i] = table.remove(ARGV) end
  redis.call('XLEN', KEYS[2]) -- a log of another type refuses the call here, before anything is changed
end

-- `done` says better than the note what was done; `found` is JSON that only the store could know. Both may be left out.
local function record(done, found)
  if not NOTE then return end
  local kept, age, asked, target, who, text = unpack(NOTE)
  NOTE = false
  local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', kept, '*', 'a', done or asked, 't', target, 'w', who, 'd', text,
    's', SOURCE, 'f', found or '')
  local oldest = tonumber(string.match(id, '^%d+')) - tonumber(age)
  if oldest > 0 then redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', oldest)) end
end

-- What a job did to itself. Nothing is trimmed here: whatever a job can end was made by a call that trims.
local function record_of_job(done, job, text)
  redis.call('XADD', PREFIX .. 'audit:changes', '*', 'a', done, 't', job, 'w', job, 'd', text, 's', SOURCE, 'f', '')
end
