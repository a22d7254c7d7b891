-- Sends visitors to /en/…, /de/… or /fr/…: by their cookie, else what their browser prefers, else their country.
--   curl -i -H 'Accept-Language: fr-CH, de;q=0.8' http://lua.localhost:8080/about
local M = {}

-- RFC 9110 §12.5.4: `de-AT, en;q=0.8`; q=0 means never.
local function preferred(accept, known)
  local best, best_quality = nil, 0
  for _, part in ipairs(string.split(accept, ",")) do
    local found = regex.captures("^ *([A-Za-z]+)[-A-Za-z0-9]* *(?:; *q=([01](?:[.][0-9]*)?))? *$", part)
    if found then
      local language = string.lower(found.groups[1])
      local quality = tonumber(found.groups[2]) or 1
      if known[language] and quality > best_quality then
        best, best_quality = language, quality
      end
    end
  end
  return best
end

function M.on_load(config)
  local known = {}
  for _, language in ipairs(config.languages) do
    known[language] = true
  end
  return { known = known }
end

function M.on_request(req, ctx)
  local config, known = ctx.config, ctx.state.known
  if req.method ~= "GET" or known[string.match(req.path, "^/([^/]*)")] then return end
  local chosen = req.cookies.language
  if not chosen or not known[chosen] then
    chosen = preferred(req.headers["accept-language"] or "", known)
      or config.countries[req.headers[config.country_header] or ""]
      or config.languages[1]
  end
  local query = req.query.raw
  -- `//elsewhere` would be another host: the path begins with the language instead.
  local target = "/" .. chosen .. req.path .. (if query == "" then "" else "?" .. query)
  return reply.empty(302, { location = target, vary = "accept-language, cookie", ["cache-control"] = "private" })
end

return M
