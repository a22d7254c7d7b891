local M = {}

local KEY = "0123456789abcdef"
local HASHED = "abc123"

local function gateway(more)
  local config = more or {}
  config.consumers = { mobile = KEY, web = { "sha256:" .. crypto.sha256(HASHED) } }
  return test.plugin("key-auth.lua", { config = config })
end

function M.test_tells_the_backend_whose_key_it_is()
  local gw = gateway()
  test.equal(gw:request({ headers = { ["x-api-key"] = KEY, ["x-user-id"] = "forged" } }).status, 200)
  test.equal(gw:request({ headers = { ["x-api-key"] = HASHED } }).status, 200)
  test.equal(gw.received[1].headers["x-user-id"], "mobile")
  test.equal(gw.received[1].headers["x-api-key"], nil)
  test.equal(gw.received[2].headers["x-user-id"], "web")
end

function M.test_refuses_no_key_and_a_wrong_one()
  local gw = gateway({ realm = 'the "gate"' })
  for _, headers in ipairs({ {}, { ["x-api-key"] = "" }, { ["x-api-key"] = crypto.sha256(HASHED) } }) do
    local res = gw:request({ headers = headers })
    test.equal(res.status, 401)
    test.equal(res.headers["www-authenticate"], 'ApiKey realm="the \\"gate\\""')
    test.contains(res.body, "a valid API key is required")
  end
  test.equal(#gw.received, 0)
end

function M.test_takes_the_key_out_of_the_query()
  local gw = gateway({ query = "key" })
  test.equal(gw:request({ path = "/x?a=1&key=" .. KEY }).status, 200)
  test.equal(gw.received[1].url, "svc://backend/x?a=1")
  test.equal(gw.received[1].headers["x-user-id"], "mobile")
end

function M.test_refuses_two_keys()
  local gw = gateway({ query = "key" })
  local res = gw:request({ path = "/?key=" .. KEY, headers = { ["x-api-key"] = KEY } })
  test.equal(res.status, 401)
  test.contains(res.body, "there is more than one API key")
  test.equal(#gw.received, 0)
end

function M.test_keys_that_can_not_work_are_found_when_they_are_loaded()
  local function problems(consumers)
    return test.plugin("key-auth.lua", { config = { consumers = consumers } }):problems()
  end
  test.contains(problems({ mobile = "short" }), "consumer `mobile`: a key has 16 characters at least")
  test.contains(problems({ mobile = "sha256:abc" }), "`sha256:` stands before 64 hexadecimal digits")
  test.contains(problems({ mobile = KEY, web = KEY }), "consumers `mobile` and `web` have the same key")
end

return M
