-- A cookie `human=EXPIRY.MAC.NONCE`. The gateway signs EXPIRY for the client's address; the page looks for a NONCE that
-- makes the SHA-256 of the whole begin with zeros. Nothing is remembered here: the cookie proves all of it.
--   open http://lua.localhost:8080/ in a browser; curl -i http://lua.localhost:8080/ is refused
local M = {}

local PAGE = [==[<!doctype html><title>One moment</title><p>One moment: we check that this is a browser.</p>
<noscript>Please switch on JavaScript.</noscript>
<script>
(async () => {
  const seed = "SEED", zeros = "ZEROS", age = SECONDS
  for (let nonce = 0; ; nonce++) {
    const text = seed + "." + nonce
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))
    const hex = Array.from(new Uint8Array(hash), byte => byte.toString(16).padStart(2, "0")).join("")
    if (!hex.startsWith(zeros)) continue
    document.cookie = "human=" + text + "; Path=/; SameSite=Lax; Max-Age=" + age
    return location.reload()
  }
})()
</script>]==]

local function mac(expiry, ctx)
  return crypto.hmac_sha256(ctx.config.secret, expiry .. " " .. ctx.client.ip)
end

local function is_human(cookie, ctx)
  local found = regex.captures("^([0-9]{1,12})[.]([0-9a-f]{64})[.][0-9]{1,12}$", cookie)
  if not found then return false end
  local expiry, signature = found.groups[1], found.groups[2]
  local zeros = ctx.config.zeros
  return crypto.equal(signature, mac(expiry, ctx))
    and tonumber(expiry) > time.now()
    and string.sub(crypto.sha256(cookie), 1, #zeros) == zeros
end

function M.on_request(req, ctx)
  if is_human(req.cookies.human or "", ctx) then return end
  if not string.find(req.headers["accept"] or "", "text/html", 1, true) then
    return reply.error(403, "this is for browsers: open the page in one first")
  end
  local expiry = tostring(math.floor(time.now()) + ctx.config.seconds)
  local page = string.gsub(PAGE, "%u%u%u+", {
    SEED = expiry .. "." .. mac(expiry, ctx),
    ZEROS = ctx.config.zeros,
    SECONDS = ctx.config.seconds,
  })
  return reply.bytes(403, page, { ["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store" })
end

return M
