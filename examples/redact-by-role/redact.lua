-- Takes fields out of JSON answers, at any depth, by the `role` claim of the caller's token. A role that is not listed
-- is one of `others`: who is forgotten in the configuration sees less, not more.
--   curl -i -H "Authorization: Bearer $TOKEN" http://lua.localhost:8080/
local M = {}

local function redact(value, hidden)
  if type(value) ~= "table" then return end
  for _, name in ipairs(hidden) do
    value[name] = nil
  end
  for _, part in pairs(value) do
    redact(part, hidden)
  end
end

function M.on_response(res, ctx)
  if not string.find(string.lower(res.headers["content-type"] or ""), "json", 1, true) then return end
  local hidden = ctx.config.hidden
  local role = ctx.identity and ctx.identity.claims.role
  local document = res:json()
  -- The answer to a HEAD says that it is JSON, and has no body.
  if document == nil then return end
  redact(document, type(role) == "string" and hidden[role] or hidden.others)
  res:set_json(document)
  -- Two callers get two documents from one URL.
  res.headers["cache-control"] = "private"
end

return M
