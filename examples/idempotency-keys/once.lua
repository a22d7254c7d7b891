-- A POST with an `Idempotency-Key` reaches the service once; the same key gets the same answer for a day.
--   curl -i -H 'Idempotency-Key: 1' -d '{"item":7}' http://lua.localhost:8080/orders     (twice)
-- `kv` is this process's memory: several gateways would keep this in Redis (`redis.set(key, …, "NX", "EX", …)`).
local M = {}

function M.on_request(req, ctx)
  local key = req.headers["idempotency-key"]
  if req.method ~= "POST" or not key then return end
  -- Of one caller: two of them may choose the same key.
  local name = crypto.sha256((req.headers["authorization"] or ctx.client.ip) .. "\n" .. key)
  local request = crypto.sha256(req.path .. "?" .. req.query.raw .. "\n" .. crypto.sha256(req:bytes()))
  local kept = kv.get("answer:" .. name)
  if not kept then
    -- In one step: of two that come at once, one counts 1.
    if kv.incr("begun:" .. name, 1, { ttl = ctx.config.at_work }) > 1 then
      return reply.error(409, "the first request with this key is still at work", { ["retry-after"] = "1" })
    end
    ctx.vars.once = { name = name, request = request }
    return
  end
  if kept.request ~= request then return reply.error(422, "this key was used for another request") end
  return reply.bytes(kept.status, base64.decode(kept.body), { ["content-type"] = kept.type, ["idempotency-replayed"] = "true" })
end

function M.on_response(res, ctx)
  local once = ctx.vars.once
  if not once then return end
  if res.from ~= "upstream" or res.status >= 500 then
    -- It failed: the client may try again.
    kv.delete("begun:" .. once.name)
    return
  end
  kv.set("answer:" .. once.name, {
    request = once.request,
    status = res.status,
    type = res.headers["content-type"] or "application/octet-stream",
    body = base64.encode(res:bytes()),
  }, { ttl = ctx.config.keep })
end

return M
