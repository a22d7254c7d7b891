--[[ plugin.toml
name = "request-id"
version = "1.0.0"
kind = "traffic"
description = "Passes the request id under a header of your choice; `x-request-id` carries it in any case."

[config]
header = { type = "string", default = "x-request-id", description = "the header's name, to the backend and to the client" }
]]

local M = {}

function M.on_request(req, ctx)
  req.headers[ctx.config.header] = ctx.id
end

function M.on_response(res, ctx)
  res.headers[ctx.config.header] = ctx.id
end

return M
