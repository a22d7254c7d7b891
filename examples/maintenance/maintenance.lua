-- A maintenance window: nobody has to remember to switch it off.
--   curl -i http://lua.localhost:8080/
--   curl -i -H 'Accept: text/html' http://lua.localhost:8080/
--   curl -i -H 'X-Maintenance-Pass: demo' http://lua.localhost:8080/
local M = {}

function M.on_load(config)
  local from, til = time.parse(config.from), time.parse(config["until"])
  if not from or not til then error("`from` and `until` are dates such as 2026-11-24T22:00:00Z", 0) end
  return { from = from, til = til }
end

function M.on_request(req, ctx)
  local pass = req.headers["x-maintenance-pass"]
  req.headers["x-maintenance-pass"] = nil
  local now = time.now()
  if now < ctx.state.from or now >= ctx.state.til then return end
  if pass and crypto.equal(pass, ctx.config.pass) then return end
  local headers = { ["retry-after"] = math.ceil(ctx.state.til - now), ["cache-control"] = "no-store" }
  if not string.find(req.headers["accept"] or "", "text/html", 1, true) then
    return reply.error(503, "closed for maintenance", headers)
  end
  headers["content-type"] = "text/html; charset=utf-8"
  return reply.bytes(503, "<!doctype html><title>Back soon</title><h1>Back soon</h1><p>We are working on the shop.</p>", headers)
end

return M
