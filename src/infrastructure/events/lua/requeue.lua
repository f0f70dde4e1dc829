#!lua
-- Put a parked entry back into its stream, for its group alone and with the event id it had.
-- KEYS: parked stream, the entry's stream. ARGV: parked id, group, event id, entries kept in the stream.
-- Returns 1, or 0 when it is not parked any more.
local row = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not row then return 0 end
local ours = { g = true, i = true, _group = true, _id = true, _family = true, _reason = true, _tries = true }
local fields = {}
for n = 1, #row[2], 2 do
  if not ours[row[2][n]] then
    fields[#fields + 1] = row[2][n]
    fields[#fields + 1] = row[2][n + 1]
  end
end
fields[#fields + 1], fields[#fields + 2] = 'g', ARGV[2]
fields[#fields + 1], fields[#fields + 2] = 'i', ARGV[3]
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
