local M = {}

local CONFIG = { remove = { "Server" }, set = { ["X-Frame-Options"] = "DENY" }, add = { Vary = "accept" } }

function M.test_removes_sets_and_adds()
  local gw = test.plugin("response-headers.lua", { config = CONFIG })
  local headers = { server = "x/1", ["x-frame-options"] = "ALLOW", vary = "origin", ["x-other"] = "stays" }
  gw:answer("GET", "svc://backend/*", { headers = headers })
  local res = gw:request()
  test.equal(res.status, 200)
  test.equal(res.headers.server, nil)
  test.equal(res.headers["x-frame-options"], "DENY")
  test.contains(res.headers.vary, "origin")
  test.contains(res.headers.vary, "accept")
  test.equal(res.headers["x-other"], "stays")
end

function M.test_errors_of_the_gateway_have_them_too()
  local gw = test.plugin("response-headers.lua", { config = CONFIG })
  gw:answer("GET", "svc://backend/*", { fail = true })
  local res = gw:request()
  test.equal(res.status, 502)
  test.equal(res.headers["x-frame-options"], "DENY")
end

function M.test_what_is_removed_can_be_added_anew()
  local gw = test.plugin("response-headers.lua", { config = { remove = { "vary" }, add = { vary = "accept" } } })
  gw:answer("GET", "svc://backend/*", { headers = { vary = "origin" } })
  test.equal(gw:request().headers.vary, "accept")
end

function M.test_headers_that_can_not_work_are_found_when_they_are_loaded()
  local function problems(config)
    return test.plugin("response-headers.lua", { config = config }):problems()
  end
  test.contains(problems({ remove = { "Content-Length" } }), "`Content-Length` is written by the gateway")
  test.contains(problems({ set = { ["x y"] = "1" } }), "`x y` is not a header's name")
  test.contains(problems({ add = { ["x-y"] = "1\n2" } }), "the value of `x-y` has a control character in it")
end

return M
