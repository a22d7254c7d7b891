-- Says the exchange rate in every answer. The rates are fetched in the background, by one worker for all.
--   curl -i http://lua.localhost:8080/
local M = {}

local function refresh()
  local got = http.get("svc://api/rates", { timeout = "2s" })
  metrics.counter("rate_refreshes", { ok = got.ok })
  if not got.ok then return nil end
  local rates = got:json()
  kv.set("rates", rates)
  metrics.gauge("rate_usd", rates.usd or 0)
  return rates
end

function M.on_load(config)
  metrics.describe("rate_refreshes", "counter", { help = "Attempts to fetch the exchange rates." })
  every(config.interval, refresh)
end

function M.on_response(res, ctx)
  -- Only those who come before the first run have to wait.
  local rates = kv.get("rates") or refresh()
  if rates and rates.usd then res.headers["x-rate-usd"] = tostring(rates.usd) end
end

return M
