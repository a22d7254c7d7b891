-- Warns of slow answers. The line has the request id, which the client got as `x-request-id`.
--   curl -i http://lua.localhost:8080/            (nothing: it is fast; set `milliseconds: 0` to see the line)
local M = {}

function M.on_request(req, ctx)
  -- Without the query string: it may hold what does not belong in a log.
  ctx.vars.asked = req.method .. " " .. req.path
end

function M.on_response(res, ctx)
  if res.latency_ms < ctx.config.milliseconds then return end
  log.warn("slow answer", {
    asked = ctx.vars.asked,
    status = res.status,
    milliseconds = math.floor(res.latency_ms),
    client = ctx.client.ip,
  })
end

return M
