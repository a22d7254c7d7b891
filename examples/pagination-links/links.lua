-- Rewrites links to other pages, in the `Link` header (RFC 8288) and in fields of a JSON body.
--   curl -i 'http://lua.localhost:8080/items?page=2'
local M = {}

function M.on_request(req, ctx)
  ctx.vars.address = req.scheme .. "://" .. req.host
  ctx.vars.bodiless = req.method == "HEAD"
end

function M.on_response(res, ctx)
  local config = ctx.config
  local links = res.headers["link"]
  if links then res.headers["link"] = regex.replace("<" .. config.internal, links, "<" .. ctx.vars.address) end

  if res.status ~= 200 or ctx.vars.bodiless then return end
  if not string.find(res.headers["content-type"] or "", "json", 1, true) then return end
  local page = res:json()
  if type(page) ~= "table" then return end
  local changed = false
  for _, field in ipairs(config.fields) do
    if type(page[field]) == "string" then
      page[field] = regex.replace("^" .. config.internal, page[field], ctx.vars.address)
      changed = true
    end
  end
  if changed then res:set_json(page) end
end

return M
