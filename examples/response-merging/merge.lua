-- Searches both warehouses at once and merges what they found, the cheapest first. One may be down: the answer says so.
--   curl -i 'http://lua.localhost:8080/?q=tea'
local M = {}

function M.handle(req, ctx)
  local query = { q = req.query.q or "" }
  local got = http.all({
    east = { url = "svc://east/search", query = query, optional = true },
    west = { url = "svc://west/search", query = query, optional = true },
  }, { timeout = "2s" })

  local items, missing = json.array(), json.array()
  for _, name in ipairs({ "east", "west" }) do
    if got[name].ok then
      for _, item in ipairs(got[name]:json()) do
        item.warehouse = name
        table.insert(items, item)
      end
    else
      table.insert(missing, name)
    end
  end
  if #missing == 2 then return reply.error(502, "no warehouse answers") end
  table.sort(items, function(a, b) return a.cents < b.cents end)
  return reply.json(200, { items = items, missing = missing })
end

return M
