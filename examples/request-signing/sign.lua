-- Signs what goes to the service: HMAC-SHA256 over time, method, path with query, and the SHA-256 of the body, a line each.
-- The path is the one that the client asked for; a path in the service's `url` goes before it later.
--   curl -i -d '{"amount":5}' http://lua.localhost:8080/payments
local M = {}

function M.on_request(req, ctx)
  local at = tostring(math.floor(time.now()))
  local query = req.query.raw
  local target = if query == "" then req.path else req.path .. "?" .. query
  local signed = table.concat({ at, req.method, target, crypto.sha256(req:bytes()) }, "\n")
  req.headers["x-signed-at"] = at
  req.headers["x-signature"] = ctx.config.key .. ":" .. crypto.hmac_sha256(ctx.config.secret, signed)
end

return M
