-- Run by `gatewright test`: each function named `test_…` is a case, before a backend that answers 200 unless it is told otherwise.
local M = {}

function M.test_says_hello_to_the_backend()
  local gw = test.plugin("NAME.lua")
  local res = gw:request({ path = "/anything" })
  test.equal(res.status, 200)
  test.equal(res.headers["x-served-by"], "NAME")
  test.equal(gw.received[1].headers["x-greeting"], "hello")
end

function M.test_refuses_who_is_blocked()
  local gw = test.plugin("NAME.lua")
  test.equal(gw:request({ headers = { ["x-blocked"] = "yes" } }).status, 403)
  test.equal(#gw.received, 0)
end

return M
