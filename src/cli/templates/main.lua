-- Adds a header to every answer. `ctx.config` is what the route writes, checked against plugin.toml.
local M = {}

function M.on_response(res, ctx)
  res.headers[ctx.config.header] = ctx.config.value
end

return M
