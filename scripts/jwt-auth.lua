--[[ plugin.toml
name = "jwt-auth"
version = "1.0.0"
kind = "auth"
description = "Lets only requests with a valid bearer token (RFC 6750, RFC 7519) pass, and tells the backend who they are from."

[config]
secret = { type = "string", secret = true, description = "the secret of HS256, HS384 and HS512" }
public_key = { type = "any", description = "the PEM of an RSA, EC or Ed25519 key, or a list of them" }
algorithms = { type = "list", items = { type = "string" }, required = true, min = 1, description = "the only ones that are accepted, such as HS256" }
issuer = { type = "any", description = "`iss` must be this, or one of a list" }
audience = { type = "any", description = "`aud` must be or contain this, or one of a list" }
leeway = { type = "duration", default = "0s", description = "how far clocks may differ" }
require_exp = { type = "boolean", default = false, description = "whether a token without `exp` is refused" }
headers = { type = "map", items = { type = "string" }, default = { sub = "X-User-ID", email = "X-User-Email" }, description = "claim to header" }
]]

local M = {}

function M.on_load(config)
  local claims = json.array()
  for claim in pairs(config.headers) do
    table.insert(claims, claim)
  end
  table.sort(claims)
  return {
    claims = claims,
    verifier = jwt.verifier({
      secret = config.secret,
      public_key = config.public_key,
      algorithms = config.algorithms,
      issuer = config.issuer,
      audience = config.audience,
      leeway = config.leeway,
      require_exp = config.require_exp,
    }),
  }
end

-- RFC 6750 §3: the challenge says what was wrong with a token, and nothing when there was none.
local function refuse(detail, challenge)
  return reply.error(401, detail, { ["www-authenticate"] = challenge })
end

local function text(claim)
  if type(claim) == "string" then return claim end
  return json.encode(claim)
end

function M.on_request(req, ctx)
  -- Removed first: whatever happens below, a client's own copy never reaches the backend.
  local headers, state, fields = ctx.config.headers, ctx.state, req.headers
  for _, header in headers do
    fields[header] = nil
  end
  local sent = fields:all("authorization")
  if #sent == 0 then
    return refuse("a bearer token is required", "Bearer")
  end
  if #sent > 1 then
    return refuse("there is more than one Authorization header", 'Bearer error="invalid_request"')
  end
  if string.lower(string.sub(sent[1], 1, 7)) ~= "bearer " then
    return refuse("a bearer token is required", "Bearer")
  end
  local token = string.sub(sent[1], string.match(sent[1], "^ *()", 8))
  local got = state.verifier:verify(token)
  if not got.ok then
    return refuse("the token is not valid: " .. got.error, 'Bearer error="invalid_token", error_description="' .. got.error .. '"')
  end
  local claims = got.claims
  for _, claim in state.claims do
    local value = claims[claim]
    if value ~= nil and value ~= json.null then
      value = text(value)
      -- It could not stand in a header, and an identity that is cut is another one's. Most have no control character at all, which
      -- is sooner seen than that they lack these.
      if not string.match(value, "^%C*$") and string.match(value, "[\r\n%z]") then
        return refuse("the token is not valid: " .. claim, 'Bearer error="invalid_token"')
      end
      fields[headers[claim]] = value
    end
  end
  ctx.identity = { id = claims.sub, email = claims.email, claims = claims }
end

return M
