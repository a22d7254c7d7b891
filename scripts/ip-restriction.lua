--[[ plugin.toml
name = "ip-restriction"
version = "1.0.0"
kind = "auth"
description = "Lets only clients with certain addresses pass. The address is that of the connection, or what trusted proxies say it is."

[config]
allow = { type = "list", items = { type = "string" }, default = [], description = "addresses and networks (`10.0.0.0/8`, `2001:db8::/32`) that may pass; none: all that are not denied" }
deny = { type = "list", items = { type = "string" }, default = [], description = "those that may not, even when they are allowed" }
status = { type = "integer", default = 403, min = 400, max = 499, description = "of the refusal" }
message = { type = "string", default = "your address may not use this", description = "what a refused client is told" }
]]

local M = {}

function M.on_load(config)
  if #config.allow + #config.deny == 0 then error("`allow` or `deny` must name an address or a network", 0) end
  return {
    allow = #config.allow > 0 and ip.list(config.allow),
    deny = ip.list(config.deny),
  }
end

function M.on_request(req, ctx)
  local state, address = ctx.state, ctx.client.ip
  if state.deny:has(address) or (state.allow and not state.allow:has(address)) then
    return reply.error(ctx.config.status, ctx.config.message)
  end
end

return M
