-- Canary by header: `X-Canary: always` goes to the next version. The answer says which version it came from.
--   curl -i http://lua.localhost:8080/
--   curl -i -H 'X-Canary: always' http://lua.localhost:8080/
local M = {}

function M.on_request(req, ctx)
  local wanted = req.headers[ctx.config.header] == "always"
  req.headers[ctx.config.header] = nil
  if wanted then req.upstream = ctx.config.service end
  ctx.vars.version = if wanted then "canary" else "stable"
end

function M.on_response(res, ctx)
  res.headers["x-version"] = ctx.vars.version
  -- A cache in between must not give testers' answers to everybody.
  res.headers:add("vary", ctx.config.header)
end

return M
