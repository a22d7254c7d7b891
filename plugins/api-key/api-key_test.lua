local M = {}

local KEY = "a-key-of-16-characters-or-more"

local function gateway()
  return test.plugin("main.lua", { config = { clients = { mobile = KEY } } })
end

function M.test_refuses_a_request_without_a_key()
  local gw = gateway()
  local res = gw:request({ path = "/x" })
  test.equal(res.status, 401)
  test.equal(res.headers["www-authenticate"], "ApiKey")
  test.equal(#gw.received, 0)
end

function M.test_refuses_an_unknown_key()
  test.equal(gateway():request({ headers = { ["x-api-key"] = KEY .. "x" } }).status, 401)
end

function M.test_tells_the_backend_whose_key_it_is_and_not_the_key()
  local gw = gateway()
  local res = gw:request({ headers = { ["x-api-key"] = KEY, ["x-user-id"] = "forged" } })
  test.equal(res.status, 200)
  test.equal(gw.received[1].headers["x-user-id"], "mobile")
  test.equal(gw.received[1].headers["x-api-key"], nil)
end

return M
