-- A sliding window as an exact log: the list KEYS[1] holds the microsecond of every accepted request, oldest first.
-- ARGV: limit, window (µs), cost. Returns allowed (0 or 1), used, µs until the oldest leaves, µs until a retry passes.
local key, limit, window, cost = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- TIME is the time of day and can be set back: a little, and the log's own end is the present; more, and it is void.
local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
if newest > now + window then
  redis.call('DEL', key)
elseif newest > now then
  now = newest
end

local function time_until(index)
  local at = redis.call('LINDEX', key, index)
  return at and at + window - now
end

local oldest = time_until(0)
while oldest and oldest <= 0 do
  redis.call('LPOP', key)
  oldest = time_until(0)
end

local used, need = redis.call('LLEN', key), math.max(cost, 1)
if used + need > limit then
  return { 0, used, oldest or 0, time_until(used + need - limit - 1) or window }
end
if cost > 0 then
  -- Lua itself would write a number of 16 digits with 14 of them.
  local at = string.format('%.0f', now)
  for _ = 1, cost do
    redis.call('RPUSH', key, at)
  end
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
end
return { 1, used + cost, oldest or (cost > 0 and window or 0), 0 }
