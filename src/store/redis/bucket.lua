-- A token bucket: the hash KEYS[1] holds the tokens (t) there were at a microsecond (a).
-- ARGV: tokens a second, burst, cost, grace. Returns allowed (0 or 1) and the tokens left, as text.
local key, rate, burst, cost = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local grace = tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local kept = redis.call('HMGET', key, 't', 'a')
local tokens, at = tonumber(kept[1] or burst), tonumber(kept[2] or now)
-- TIME can be set back; then nothing has flowed in.
tokens = math.min(burst, tokens + math.max(0, now - at) / 1e6 * rate)

local allowed = 0
if tokens + grace >= math.max(cost, 1) then
  allowed = 1
  if cost > 0 then
    tokens = math.max(0, tokens - cost)
    redis.call('HSET', key, 't', string.format('%.17g', tokens), 'a', string.format('%.0f', now))
    redis.call('PEXPIRE', key, math.ceil((burst - tokens) / rate * 1000) + 1)
  end
end
return { allowed, string.format('%.17g', tokens) }
