--[[ plugin.toml
name = "rate-limit"
version = "1.0.0"
kind = "traffic"
description = "Lets at most so many requests of one client pass in a sliding window, and tells every client how it stands."

[config]
limit = { type = "integer", default = 100, min = 1, description = "requests in a window" }
window = { type = "duration", default = "60s", min = 0.001, description = "the length of the window" }
by = { type = "string", default = "ip", description = "who is counted: `ip`, `header:NAME`, `identity` or `route`" }
on_store_error = { type = "string", default = "local", one_of = ["local", "allow", "deny"], description = "when Redis gives no answer" }
]]

local M = {}

function M.on_load(config)
  local header = string.match(config.by, "^header:(.+)$")
  if not header and config.by ~= "ip" and config.by ~= "identity" and config.by ~= "route" then
    error("`by`: `" .. config.by .. "` is not `ip`, `header:NAME`, `identity` or `route`", 0)
  end
  return {
    by = config.by,
    header = header,
    rule = { limit = config.limit, window = config.window, on_store_error = config.on_store_error },
    policy = '"default";q=' .. config.limit .. ";w=" .. math.ceil(config.window),
  }
end

-- Who is not told apart by what was asked for is told apart by the address.
local function who(req, ctx, state)
  if state.by == "route" then return "route" end
  if state.header then
    local value = req.headers[state.header]
    if value then return "header:" .. value end
  elseif state.by == "identity" and ctx.identity and ctx.identity.id then
    return "identity:" .. tostring(ctx.identity.id)
  end
  return "ip:" .. ctx.client.ip
end

function M.on_request(req, ctx)
  local state = ctx.state
  local seen = limit.sliding_window(ctx.place .. "|" .. who(req, ctx, state), state.rule)
  if seen.error then
    return reply.error(503, "the rate limit can't be checked at the moment", { ["retry-after"] = "1" })
  end
  local headers = ctx.response_headers
  headers["ratelimit-policy"] = state.policy
  headers["ratelimit"] = '"default";r=' .. seen.remaining .. ";t=" .. seen.reset
  if not seen.allowed then
    return reply.error(429, "too many requests: try again in " .. seen.retry_after .. " s", { ["retry-after"] = seen.retry_after })
  end
end

return M
