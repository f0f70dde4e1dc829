-- Shared by the scripts of monitoring. `now` is the store's time in ms; times go back to Redis as whole numbers.
local function mon(...)
  return PREFIX .. 'mon:' .. table.concat({ ... }, ':')
end
local function whole(number)
  return string.format('%.0f', number)
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
