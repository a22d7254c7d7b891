-- A budget for each API key (or address, without one) that calls take from by what they cost.
-- Whoever can make up a key has a new budget: put a plugin before this that knows the keys, such as `api-key`.
--   curl -i -H 'X-Api-Key: me' 'http://lua.localhost:8080/search?q=tea'      (the third is refused)
local M = {}

local function cost_of(req, config)
  for _, rule in ipairs(config.costs) do
    if rule.method == req.method and regex.test(rule.path, req.path) then return rule.cost end
  end
  return 1
end

function M.on_request(req, ctx)
  local key = req.headers["x-api-key"]
  local who = if key then "key:" .. crypto.sha256(key) else "ip:" .. ctx.client.ip
  local budget = ctx.config.budget
  local cost = cost_of(req, ctx.config)
  local seen = limit.token_bucket(who, { rate = budget.rate, burst = budget.burst, cost = cost })
  ctx.vars.budget = { cost = cost, left = seen.remaining }
  if not seen.allowed then
    return reply.error(429, "this costs " .. cost .. ", and " .. seen.remaining .. " is left", { ["retry-after"] = seen.retry_after })
  end
end

function M.on_response(res, ctx)
  local budget = ctx.vars.budget
  if not budget then return end
  res.headers["x-cost"] = budget.cost
  res.headers["x-budget-left"] = budget.left
end

return M
