local M = {}

local APP = "https://app.example.com"

function M.test_answers_a_preflight_without_the_backend()
  local gw = test.plugin("cors.lua", { config = { origins = { APP }, methods = { "GET", "PUT" } } })
  local headers = { origin = APP, ["access-control-request-method"] = "PUT" }
  local res = gw:request({ method = "OPTIONS", headers = headers })
  test.equal(res.status, 204)
  test.equal(res.headers["access-control-allow-origin"], APP)
  test.equal(res.headers["access-control-allow-methods"], "GET, PUT")
  test.equal(#gw.received, 0)
end

function M.test_lets_only_known_origins_read()
  local gw = test.plugin("cors.lua", { config = { origins = { "https://*.example.com" } } })
  test.equal(gw:request({ headers = { origin = APP } }).headers["access-control-allow-origin"], APP)
  local other = gw:request({ headers = { origin = "https://example.net" } })
  test.equal(other.status, 200)
  test.equal(other.headers["access-control-allow-origin"], nil)
  test.contains(other.headers.vary, "origin")
end

function M.test_takes_the_place_of_what_the_backend_says()
  local gw = test.plugin("cors.lua", { config = { origins = { APP } } })
  gw:answer("GET", "svc://backend/*", { headers = { ["access-control-allow-origin"] = "*" } })
  test.equal(gw:request({ headers = { origin = APP } }).headers["access-control-allow-origin"], APP)
end

function M.test_every_origin_and_credentials_exclude_each_other()
  local gw = test.plugin("cors.lua", { config = { origins = { "*" }, credentials = true } })
  test.contains(gw:problems(), "exclude each other")
end

return M
