-- Lets only requests with a known key pass. The key itself is not forwarded; the client's name is, as X-User-ID.
local M = {}

-- All keys are compared, each in constant time, so that an answer's delay tells nothing about them.
local function client_of(key, clients)
  local found
  for name, known in pairs(clients) do
    if crypto.equal(key, known) then found = name end
  end
  return found
end

function M.on_request(req, ctx)
  local sent = req.headers:all(ctx.config.header)
  local name = #sent == 1 and client_of(sent[1], ctx.config.clients)
  if not name then
    return reply.error(401, "a valid API key is required", { ["www-authenticate"] = "ApiKey" })
  end
  req.headers[ctx.config.header] = nil
  req.headers["x-user-id"] = name
  ctx.identity = { id = name }
end

return M
