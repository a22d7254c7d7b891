-- Finds the tenant by the first label of the host, and tells the service in headers that no client can set.
--   curl -i http://acme.lua.localhost:8080/
--   curl -i http://nobody.lua.localhost:8080/
local M = {}

function M.on_request(req, ctx)
  local label = string.lower(string.match(req.host, "^[^.]+"))
  local tenant = ctx.config.tenants[label]
  if not tenant then return reply.error(404, "no such tenant") end
  -- Assigning replaces: what the client sent under this name is gone.
  req.headers["x-tenant"] = tenant.id
  req.headers["x-plan"] = tenant.plan
end

return M
