-- Checks `X-Signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY`, as many senders of webhooks do.
-- The time is signed too, so that an old call can't be sent again for ever.
--   t=$(date +%s); v1=$(printf '%s.{"paid":true}' $t | openssl dgst -sha256 -hmac demo -r | cut -d' ' -f1)
--   curl -i -H "X-Signature: t=$t,v1=$v1" -d '{"paid":true}' http://lua.localhost:8080/hooks
local M = {}

function M.on_request(req, ctx)
  local found = regex.captures("^t=([0-9]{1,12}),v1=([0-9a-f]{64})$", req.headers["x-signature"] or "")
  if not found then return reply.error(401, "X-Signature is missing or malformed") end
  local sent, mac = found.groups[1], found.groups[2]
  -- In constant time: how long a comparison takes must not tell how much of a guess is right.
  if not crypto.equal(mac, crypto.hmac_sha256(ctx.config.secret, sent .. "." .. req:bytes())) then
    return reply.error(401, "the signature is wrong")
  end
  if math.abs(time.now() - tonumber(sent)) > ctx.config.window then
    return reply.error(401, "the signature is too old")
  end
end

return M
