--[[ plugin.toml
name = "basic-auth"
version = "1.0.0"
kind = "auth"
description = "Lets only requests with a known user's name and password (RFC 7617) pass, and tells the backend who it is."

[config]
users = { type = "map", items = { type = "string", secret = true }, required = true, min = 1, description = "by name, `sha256:SALT:` and the SHA-256 of salt and password one after the other in hexadecimal. It is a fast hash: it protects long random passwords, not those that people think up" }
realm = { type = "string", default = "gateway", description = "what a browser names when it asks" }
hide_credentials = { type = "boolean", default = true, description = "whether the password is taken out of what the backend gets" }
identity_header = { type = "string", default = "X-User-ID", min = 1, description = "the header that tells the backend the user's name" }
]]

local M = {}

function M.on_load(config)
  local names = json.array()
  for name in pairs(config.users) do
    table.insert(names, name)
  end
  table.sort(names)
  local users = {}
  for _, name in ipairs(names) do
    -- RFC 7617 §2: the first colon ends the name.
    if string.find(name, ":", 1, true) then error("user `" .. name .. "`: a name has no colon", 0) end
    local parts = string.split(config.users[name], ":")
    local hash = string.lower(parts[3] or "")
    if #parts ~= 3 or parts[1] ~= "sha256" or parts[2] == "" or #hash ~= 64 or not crypto.bytes(hash) then
      error("user `" .. name .. "`: a password is written `sha256:SALT:HASH`, the hash in 64 hexadecimal digits", 0)
    end
    users[name] = { salt = parts[2], hash = hash }
  end
  local quoted = string.gsub(string.gsub(config.realm, "\\", "\\\\"), '"', '\\"')
  return {
    users = users,
    -- Whose hash a name is held against that nobody has: it takes as long and nothing is equal to it.
    nobody = { salt = crypto.hex(crypto.random(16)), hash = crypto.hex(crypto.random(32)) },
    challenge = 'Basic realm="' .. quoted .. '", charset="UTF-8"',
  }
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

function M.on_request(req, ctx)
  local config, state = ctx.config, ctx.state
  local name, password = credentials(req.headers:all("authorization"))
  local user = name and state.users[name]
  local held = user or state.nobody
  local is_equal = crypto.equal(crypto.sha256(held.salt .. (password or "")), held.hash)
  if not user or not is_equal then
    return reply.error(401, "a user's name and password are required", { ["www-authenticate"] = state.challenge })
  end
  if config.hide_credentials then req.headers["authorization"] = nil end
  req.headers[config.identity_header] = name
  ctx.identity = { id = name }
end

return M
