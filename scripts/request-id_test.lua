local M = {}

function M.test_backend_and_client_see_the_same_id()
  local gw = test.plugin("request-id.lua", { config = { header = "x-trace" } })
  local res = gw:request()
  test.ok(res.headers["x-trace"])
  test.equal(res.headers["x-trace"], gw.received[1].headers["x-trace"])
  test.equal(res.headers["x-trace"], res.headers["x-request-id"])
end

function M.test_each_request_has_its_own()
  local gw = test.plugin("request-id.lua")
  test.differs(gw:request().headers["x-request-id"], gw:request().headers["x-request-id"])
end

return M
