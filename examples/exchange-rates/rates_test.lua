-- gatewright test examples/exchange-rates
local M = {}

local function gateway(script)
  local gw = test.plugin(script, { config = { interval = "30s" } })
  gw:answer("GET", "svc://api/rates", { json = { usd = 1.25 } })
  return gw
end

for _, script in { "rates.lua", "rates.rhai" } do
  local language = script:match("%a+$")

  M["test_the_rates_are_there_before_anybody_asks_in_" .. language] = function()
    local gw = gateway(script)
    test.advance("30s")
    test.equal(gw:request().headers["x-rate-usd"], "1.25")
    test.equal(gw:metric("rate_refreshes"), 1)
    test.equal(gw:metric("rate_usd"), 1.25)
  end

  M["test_old_rates_stay_when_there_are_no_new_ones_in_" .. language] = function()
    local gw = gateway(script)
    test.advance("30s")
    gw:answer("GET", "svc://api/rates", { status = 503 })
    test.advance("60s")
    test.equal(gw:metric("rate_refreshes", { ok = false }), 2)
    test.equal(gw:request().headers["x-rate-usd"], "1.25")
  end
end

return M
