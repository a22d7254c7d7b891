-- Tells the service in `X-Features` what is switched on for this client. Who has a feature keeps it while its share grows.
--   curl -i http://lua.localhost:8080/
local M = {}

-- Read from Redis every few seconds and not for every request. When it can't be read, the defaults hold.
local function percentages(config)
  local known = kv.get("flags")
  if known then return known end
  local flags = {}
  for name, percent in pairs(config.defaults) do
    flags[name] = percent
  end
  local is_read, found = pcall(redis.hgetall, "flags")
  if is_read then
    for name, percent in pairs(found) do
      -- Whoever types something else into Redis switches the feature off, and nothing else.
      flags[name] = if regex.test("^[0-9]{1,3}$", percent) then tonumber(percent) else 0
    end
  end
  kv.set("flags", flags, { ttl = config.refresh })
  return flags
end

function M.on_request(req, ctx)
  local who = ctx.identity and ctx.identity.id or ctx.client.ip
  local on = {}
  for name, percent in pairs(percentages(ctx.config)) do
    -- The name is hashed as well: else the same users would try everything first.
    local place = tonumber(string.sub(crypto.sha256(name .. ":" .. who), 1, 6), 16) % 100
    if place < percent then table.insert(on, name) end
  end
  table.sort(on)
  req.headers["x-features"] = table.concat(on, ",")
end

return M
