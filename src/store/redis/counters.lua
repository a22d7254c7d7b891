-- A sliding window as two counters: the hash KEYS[1] holds the index of a fixed window (i), its count (c) and that of the
-- one before (p). ARGV: limit, window (µs), cost. Returns allowed (0 or 1), both counts, µs since the window began.
local key, limit, window, cost = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local elapsed = now % window
local index = (now - elapsed) / window

local kept = redis.call('HMGET', key, 'i', 'c', 'p')
local last, current, previous = tonumber(kept[1] or index), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
if last == index - 1 then
  current, previous = 0, current
elseif last == index + 1 then
  -- TIME is the time of day and was set back a little: stay at the start of the newest window.
  index, elapsed = last, 0
elseif last ~= index then
  current, previous = 0, 0
end

local used = current + math.ceil(previous * (window - elapsed) / window)
if used + math.max(cost, 1) > limit then
  return { 0, current, previous, elapsed }
end
if cost > 0 then
  current = current + cost
  redis.call('HSET', key, 'i', string.format('%.0f', index), 'c', current, 'p', previous)
  redis.call('PEXPIRE', key, math.ceil(2 * window / 1000))
end
return { 1, current, previous, elapsed }
