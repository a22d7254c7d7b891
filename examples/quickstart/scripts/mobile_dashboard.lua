-- What the app's first screen needs, and no more. Orders may be missing; the user may not.
local M = {}

function M.handle(req, ctx)
  local id = ctx.identity.id
  local got = http.all({
    user = { url = "svc://users/{id}", params = { id = id } },
    orders = { url = "svc://orders/of/{id}", params = { id = id }, query = { limit = 5 }, optional = true },
  }, { timeout = "2s" })

  local user = got.user:json()
  local answer = { user = { name = user.name, avatar = user.avatarUrl }, recentOrders = json.array() }
  if got.orders.ok then
    for i, order in ipairs(got.orders:json().orders) do
      answer.recentOrders[i] = { id = order.id, total = order.total, status = order.status }
    end
    return reply.json(200, answer)
  end
  answer.partial = { "recentOrders" }
  return reply.json(200, answer, { ["cache-control"] = "no-store" })
end

return M
