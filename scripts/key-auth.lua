--[[ plugin.toml
name = "key-auth"
version = "1.0.0"
kind = "auth"
description = "Lets only requests with a known key pass, and tells the backend whose it is."

[config]
consumers = { type = "map", items = { type = "any", secret = true }, required = true, min = 1, description = "by name, a consumer's key or a list of keys: as they are (16 characters and more), or `sha256:` and the key's SHA-256 in hexadecimal" }
header = { type = "string", default = "x-api-key", description = "the header with the key; empty: none" }
query = { type = "string", default = "", description = "the query parameter with the key, which then stands in logs and histories; empty: none" }
hide_credentials = { type = "boolean", default = true, description = "whether the key is taken out of what the backend gets" }
identity_header = { type = "string", default = "X-User-ID", min = 1, description = "the header that tells the backend the consumer's name" }
realm = { type = "string", default = "", description = "of the challenge" }
]]

local M = {}

local function digest(key, consumer)
  if type(key) ~= "string" then
    error("consumer `" .. consumer .. "`: a key is text: write it in quotes", 0)
  end
  if string.sub(key, 1, 7) == "sha256:" then
    local hash = string.lower(string.sub(key, 8))
    if #hash ~= 64 or not crypto.bytes(hash) then
      error("consumer `" .. consumer .. "`: `sha256:` stands before 64 hexadecimal digits", 0)
    end
    return hash
  end
  if #key < 16 then
    error("consumer `" .. consumer .. "`: a key has 16 characters at least", 0)
  end
  return crypto.sha256(key)
end

function M.on_load(config)
  if config.header == "" and config.query == "" then
    error("`header` or `query` must say where the key is", 0)
  end
  local names = json.array()
  for name in pairs(config.consumers) do
    table.insert(names, name)
  end
  table.sort(names)
  -- Keys are looked up by a MAC under a secret that nobody knows, so the time it takes tells nothing about them and does
  -- not grow with their number.
  local salt = crypto.hex(crypto.random(32))
  local known = {}
  for _, name in ipairs(names) do
    local keys = config.consumers[name]
    if type(keys) ~= "table" then keys = { keys } end
    if #keys == 0 then error("consumer `" .. name .. "`: there is no key", 0) end
    for _, key in ipairs(keys) do
      local mac = crypto.hmac_sha256(salt, digest(key, name))
      if known[mac] then
        error("consumers `" .. known[mac] .. "` and `" .. name .. "` have the same key", 0)
      end
      known[mac] = name
    end
  end
  local quoted = string.gsub(string.gsub(config.realm, "\\", "\\\\"), '"', '\\"')
  return {
    salt = salt,
    known = known,
    challenge = if config.realm == "" then "ApiKey" else 'ApiKey realm="' .. quoted .. '"',
  }
end

function M.on_request(req, ctx)
  local config, state = ctx.config, ctx.state
  local function refuse(detail)
    return reply.error(401, detail, { ["www-authenticate"] = state.challenge })
  end
  local sent = if config.header == "" then {} else req.headers:all(config.header)
  local in_query = if config.query == "" then {} else req.query:all(config.query)
  -- Which of two the backend would look at is not known.
  if #sent + #in_query > 1 then return refuse("there is more than one API key") end
  local key = sent[1] or in_query[1]
  local name = key and state.known[crypto.hmac_sha256(state.salt, crypto.sha256(key))]
  if not name then return refuse("a valid API key is required") end
  if config.hide_credentials then
    if #sent > 0 then req.headers[config.header] = nil else req.query[config.query] = nil end
  end
  req.headers[config.identity_header] = name
  ctx.identity = { id = name }
end

return M
