-- The authority says who a machine is; this says whether it may. `ctx.client.subject` is as in RFC 4514: `CN=till-1,O=Shop`.
--   curl --cacert ca.pem --cert till-1.pem --key till-1.key https://lua.localhost:8443/
local M = {}

function M.on_request(req, ctx)
  local name, organisation = string.match(ctx.client.subject or "", "^CN=([%w-]+),O=([%w-]+)$")
  if organisation ~= ctx.config.organisation or not table.find(ctx.config.names, name) then
    return reply.error(403, "not for this machine")
  end
  req.headers["x-client-name"] = name
end

return M
