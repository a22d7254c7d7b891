--[[ plugin.toml
name = "request-size-limit"
version = "1.0.0"
kind = "validate"
description = "Refuses requests whose body is too large: at once when its length was announced; else it is read first, within the gateway's `limits.max_body_size`, and counted with its content encoding taken off."

[config]
max = { type = "size", required = true, min = 0, description = "the largest body that passes" }
]]

local M = {}

function M.on_request(req, ctx)
  local max = ctx.config.max
  local announced = tonumber(req.headers["content-length"])
  -- What was announced is all that can come; a body without a length is not sent on before its end is seen.
  local size = announced or #req:bytes()
  if size > max then
    return reply.error(413, "the request body is larger than " .. max .. " bytes")
  end
end

return M
