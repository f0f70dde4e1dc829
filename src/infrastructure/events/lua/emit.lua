-- Prelude for scripts that announce what they change: publishes an event in the same atomic call.
--
-- The including script sets three locals before this text:
--   PREFIX       key prefix with its hash tag and colon, such as '{roundsman}:'
--   SOURCE       id of the instance that speaks
--   EVENTS_KEPT  entries kept a stream; trimming is approximate, by whole stream nodes, and once a call
--
-- `data` is a JSON object as text and travels unread. `correlation_id` and `traceparent` are left out when nil, false or
-- empty. The fields must stay those of infrastructure/events/wire.py; a test compares the two.
local stream_of, trimmed = {}, {}
local function emit(topic, data, correlation_id, traceparent)
  local stream = stream_of[topic]
  if not stream then
    stream = PREFIX .. 'ev:' .. string.match(topic, '^[^.]+')
    stream_of[topic] = stream
  end
  if trimmed[stream] and (correlation_id or '') == '' and (traceparent or '') == '' then
    return redis.call('XADD', stream, '*', 't', topic, 'd', data, 's', SOURCE)
  end
  local entry = { 't', topic, 'd', data, 's', SOURCE }
  if correlation_id and correlation_id ~= '' then
    entry[7], entry[8] = 'c', correlation_id
  end
  if traceparent and traceparent ~= '' then
    local n = #entry
    entry[n + 1], entry[n + 2] = 'p', traceparent
  end
  if trimmed[stream] then return redis.call('XADD', stream, '*', unpack(entry)) end
  trimmed[stream] = true
  return redis.call('XADD', stream, 'MAXLEN', '~', EVENTS_KEPT, '*', unpack(entry))
end
