-- Replaces errors by a page for browsers: those of the service, of other scripts, and of the gateway itself.
--   curl -i http://lua.localhost:8080/
--   curl -i -H 'Accept: text/html' http://lua.localhost:8080/
local M = {}

function M.on_request(req, ctx)
  ctx.vars.browser = string.find(req.headers["accept"] or "", "text/html", 1, true) ~= nil
end

function M.on_response(res, ctx)
  if res.status < 400 or not ctx.vars.browser then return end
  -- The service made a page itself.
  if string.find(res.headers["content-type"] or "", "text/html", 1, true) then return end
  local title = ctx.config.titles[tostring(res.status)] or ctx.config.others
  -- The id is letters, digits and dashes, made here; anything from a client would have to be escaped.
  local page = "<!doctype html><title>" .. title .. "</title><h1>" .. title .. "</h1><p>Our support asks for this: " .. ctx.id .. "</p>"
  return reply.bytes(res.status, page, { ["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store" })
end

return M
