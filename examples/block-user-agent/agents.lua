-- Refuses user agents that match a pattern; case does not matter. It keeps out the lazy: names are easily changed.
--   curl -i http://lua.localhost:8080/
--   curl -i -A Scrapy/2.11 http://lua.localhost:8080/
local M = {}

function M.on_load(config)
  return { pattern = "(?i)" .. table.concat(config.blocked, "|") }
end

function M.on_request(req, ctx)
  if regex.test(ctx.state.pattern, req.headers["user-agent"] or "") then
    return reply.error(403, "this client is not welcome here")
  end
end

return M
