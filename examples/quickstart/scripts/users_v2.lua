-- The legacy service's v1 users as v2, and v2 requests as v1.
local M = {}

local function is_json(message)
  local kind = message.headers["content-type"]
  return kind ~= nil and string.find(kind, "json", 1, true) ~= nil
end

function M.on_request(req, ctx)
  -- The answer to a HEAD says that it is JSON, and has no body.
  ctx.vars.bodiless = req.method == "HEAD"
  if not is_json(req) then return end
  local new = req:json()
  local name = new.name or {}
  req:set_json({
    userId = new.id,
    emailAddress = new.email,
    firstName = name.first,
    lastName = name.last,
  })
end

function M.on_response(res, ctx)
  if res.status ~= 200 or ctx.vars.bodiless or not is_json(res) then return end
  local old = res:json()
  res:set_json({
    id = old.userId,
    email = old.emailAddress,
    name = { first = old.firstName, last = old.lastName },
    created_at = old.createdDate,
    metadata = { source = "legacy-transform", version = "2.0" },
  })
end

return M
