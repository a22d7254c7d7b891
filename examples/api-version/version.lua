-- Chooses the service by `API-Version`, and announces the end of an old one by `Sunset` (RFC 8594).
--   curl -i http://lua.localhost:8080/users
--   curl -i -H 'API-Version: 2' http://lua.localhost:8080/users
local M = {}

function M.on_request(req, ctx)
  local asked = req.headers["api-version"] or ctx.config.default
  local version = ctx.config.versions[asked]
  if not version then return reply.error(400, "there is no such API-Version") end
  req.upstream = version.service
  ctx.vars.version = asked
end

function M.on_response(res, ctx)
  local version = ctx.vars.version
  res.headers:add("vary", "api-version")
  if not version then return end
  res.headers["api-version"] = version
  res.headers["sunset"] = ctx.config.versions[version].sunset
end

return M
