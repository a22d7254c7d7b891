--[[ plugin.toml
name = "basic-auth"
version = "1.1.0"
kind = "auth"
description = "Lets only requests with a known user's name and password (RFC 7617) pass, and tells the backend who it is."

[config]
users = { type = "map", items = { type = "string", secret = true }, required = true, min = 1, description = "by name, a stored password: `$pbkdf2-sha256$i=ITERATIONS$SALT$HASH`, as `gatewright hash-password` and `crypto.hash_password` make it (PBKDF2-HMAC-SHA-256, RFC 8018, as a PHC string; 600000 iterations, OWASP's Password Storage Cheat Sheet). Checking one takes about a tenth of a second on a thread of its own, once in five minutes for each password that is right; a `rate-limit` before this plugin keeps strangers from making the gateway work. The older `sha256:SALT:HASH` (SHA-256 of salt and password one after the other in hexadecimal) still works, with a warning: it is fast to guess" }
realm = { type = "string", default = "gateway", description = "what a browser names when it asks" }
hide_credentials = { type = "boolean", default = true, description = "whether the password is taken out of what the backend gets" }
identity_header = { type = "string", default = "X-User-ID", min = 1, description = "the header that tells the backend the user's name" }
]]

local M = {}

local FORM = "`$pbkdf2-sha256$i=ITERATIONS$SALT$HASH` (1000 to 10000000 iterations, a salt of 8 and a hash of 16 to 64 bytes), or `sha256:SALT:HASH`, the hash in 64 hexadecimal digits"

local function is_base64(text, least)
  local bytes = base64.decode(text)
  return bytes ~= nil and #bytes >= least and #bytes <= 64
end

-- What `i=` says; nil when that can't be. The length, which others write too, is the hash's own.
local function iterations_of(text)
  local found = nil
  for _, parameter in ipairs(string.split(text, ",")) do
    local digits = string.match(parameter, "^i=(%d+)$")
    if digits and not found then
      found = tonumber(digits)
    elseif string.sub(parameter, 1, 2) ~= "l=" then
      return nil
    end
  end
  return found and found >= 1000 and found <= 10000000 and found or nil
end

-- A password as it is held: one that is slow to check, or one of the older kind.
local function read(name, text)
  local parts = string.split(text, "$")
  if #parts == 5 and parts[1] == "" and parts[2] == "pbkdf2-sha256" then
    local iterations = iterations_of(parts[3])
    if iterations and is_base64(parts[4], 8) and is_base64(parts[5], 16) then
      return { slow = text, iterations = iterations }
    end
  end
  local old = string.split(text, ":")
  local hash = string.lower(old[3] or "")
  if #old ~= 3 or old[1] ~= "sha256" or old[2] == "" or #hash ~= 64 or not crypto.bytes(hash) then
    error("user `" .. name .. "`: a password is written " .. FORM, 0)
  end
  return { salt = old[2], hash = hash, iterations = 0 }
end

-- Whom a name is held against that nobody has: it takes as long as the slowest password, and nothing is equal to it. Where others are
-- stored with fewer iterations, or the older way, those are checked sooner: then the time tells that somebody has the name.
local function nobody(iterations)
  if iterations == 0 then return { salt = crypto.hex(crypto.random(16)), hash = crypto.hex(crypto.random(32)) } end
  local random = base64.encode(crypto.random(16)) .. "$" .. base64.encode(crypto.random(32))
  return { slow = "$pbkdf2-sha256$i=" .. string.format("%d", iterations) .. "$" .. random }
end

function M.on_load(config)
  local names = json.array()
  for name in pairs(config.users) do
    table.insert(names, name)
  end
  table.sort(names)
  local users, old, most = {}, {}, 0
  for _, name in ipairs(names) do
    -- RFC 7617 §2: the first colon ends the name.
    if string.find(name, ":", 1, true) then error("user `" .. name .. "`: a name has no colon", 0) end
    users[name] = read(name, config.users[name])
    most = math.max(most, users[name].iterations)
    if users[name].iterations == 0 then table.insert(old, name) end
  end
  if #old > 0 then
    log.warn("passwords stored as SHA-256 are fast to guess: store those of " .. table.concat(old, ", ") .. " by `gatewright hash-password`")
  end
  local quoted = string.gsub(string.gsub(config.realm, "\\", "\\\\"), '"', '\\"')
  return { users = users, nobody = nobody(most), challenge = 'Basic realm="' .. quoted .. '", charset="UTF-8"' }
end

-- Name and password; nothing when there are none.
local function credentials(sent)
  if #sent ~= 1 or string.lower(string.sub(sent[1], 1, 6)) ~= "basic " then return nil end
  local pair = base64.decode((string.gsub(string.sub(sent[1], 7), "^ +", "")))
  if not pair or not utf8.len(pair) then return nil end
  local colon = string.find(pair, ":", 1, true)
  if not colon then return nil end
  return string.sub(pair, 1, colon - 1), string.sub(pair, colon + 1)
end

local function is_right(held, password)
  if held.slow then return crypto.verify_password(password, held.slow) end
  return crypto.equal(crypto.sha256(held.salt .. password), held.hash)
end

function M.on_request(req, ctx)
  local config, state = ctx.config, ctx.state
  local name, password = credentials(req.headers:all("authorization"))
  local user = name and state.users[name]
  local is_known = name ~= nil and is_right(user or state.nobody, password)
  if not user or not is_known then
    return reply.error(401, "a user's name and password are required", { ["www-authenticate"] = state.challenge })
  end
  if config.hide_credentials then req.headers["authorization"] = nil end
  req.headers[config.identity_header] = name
  ctx.identity = { id = name }
end

return M
