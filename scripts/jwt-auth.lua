--[[ plugin.toml
name = "jwt-auth"
version = "1.0.0"
kind = "auth"
description = "Lets only requests with a valid bearer token (RFC 6750, RFC 7519) pass, and tells the backend who they are from."

[config]
secret = { type = "string", secret = true, description = "the secret of HS256, HS384 and HS512" }
public_key = { type = "any", description = "the PEM of an RSA, EC or Ed25519 key, or a list of them" }
jwks = { type = "url", description = "instead of keys, the URL of the issuer's JWK set (RFC 7517), such as `https://issuer/.well-known/jwks.json` or `svc://NAME/path`" }
jwks_max_age = { type = "duration", default = "10m", description = "the age at which newer keys are fetched" }
jwks_max_stale = { type = "duration", default = "24h", description = "the age at which keys are used no more when no newer ones can be fetched: 503" }
algorithms = { type = "list", items = { type = "string" }, required = true, min = 1, description = "the only ones that are accepted, such as HS256" }
issuer = { type = "any", description = "`iss` must be this, or one of a list" }
audience = { type = "any", description = "`aud` must be or contain this, or one of a list" }
leeway = { type = "duration", default = "0s", description = "how far clocks may differ" }
require_exp = { type = "boolean", default = false, description = "whether a token without `exp` is refused" }
headers = { type = "map", items = { type = "string" }, default = { sub = "X-User-ID", email = "X-User-Email" }, description = "claim to header" }
]]

local M = {}

function M.on_load(config)
  return {
    headers = config.headers,
    verifier = jwt.verifier({
      secret = config.secret,
      public_key = config.public_key,
      jwks = config.jwks,
      max_age = config.jwks_max_age,
      max_stale = config.jwks_max_stale,
      algorithms = config.algorithms,
      issuer = config.issuer,
      audience = config.audience,
      leeway = config.leeway,
      require_exp = config.require_exp,
    }),
  }
end

local function refuse(detail, challenge)
  return reply.error(401, detail, { ["www-authenticate"] = challenge })
end

-- What a header says of a claim: nothing where there is none.
local function text(value)
  if value == json.null then return nil end
  return json.encode(value)
end

function M.on_request(req, ctx)
  local state, headers = ctx.state, req.headers
  local got = state.verifier:bearer(headers)
  if not got.ok then
    -- Nothing is known of the token: it may be good.
    if got.error == "keys" then return reply.error(503, got.detail, { ["retry-after"] = "5" }) end
    return refuse(got.detail, got.challenge)
  end
  local claims = got.claims
  -- Each is set or removed, so that a client's own copy never reaches the backend.
  for claim, header in state.headers do
    local value = claims[claim]
    if value ~= nil and type(value) ~= "string" then value = text(value) end
    -- An identity that is cut is another one's: what can't stand in a header whole is refused.
    if not headers:set(header, value) then
      return refuse("the token is not valid: " .. claim, 'Bearer error="invalid_token"')
    end
  end
  ctx.identity = got.identity
end

return M
