-- The orders service of the demo: one order, or those of a user.
local M = {}

local STATUS = { "paid", "shipped", "open" }

local function order(number, user)
  return {
    id = tostring(1000 + number),
    userId = user,
    total = 19.5 + number,
    status = STATUS[number % 3 + 1],
    items = { { sku = "SKU-" .. number, qty = 1 } },
  }
end

function M.handle(req, ctx)
  local user = req.params.user
  if not user then return reply.json(200, order(tonumber(req.params.id) or 0, "42")) end
  local orders = json.array()
  for number = 1, math.min(tonumber(req.query.limit) or 10, 10) do
    orders[number] = order(number, user)
  end
  return reply.json(200, { orders = orders })
end

return M
