-- Moves the token of a WebSocket from the query to `Authorization`. Pages of other sites are refused: to WebSockets the browser's
-- rules for origins do not apply (RFC 6455 §10.2).
--   new WebSocket("ws://lua.localhost:8080/chat?access_token=" + token)
local M = {}

function M.on_request(req, ctx)
  if req.headers["sec-websocket-version"] ~= "13" then
    return reply.error(426, "this is for WebSockets", { ["sec-websocket-version"] = "13" })
  end
  local origin = req.headers["origin"]
  if origin ~= nil and not table.find(ctx.config.origins, origin) then
    return reply.error(403, "not from a page of " .. origin)
  end
  local token = req.query[ctx.config.parameter]
  if token == nil then return end
  req.query[ctx.config.parameter] = nil
  req.headers["authorization"] = "Bearer " .. token
end

return M
