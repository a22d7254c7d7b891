local M = {}

local SECRET = "a-secret-of-at-least-32-characters"

local function gateway()
  return test.plugin("jwt-auth.lua", { config = { secret = SECRET, algorithms = { "HS256" } } })
end

local function bearer(claims)
  return { authorization = "Bearer " .. jwt.sign(claims, { algorithm = "HS256", secret = SECRET }) }
end

function M.test_refuses_a_request_without_a_token()
  local gw = gateway()
  local res = gw:request({ headers = { ["x-user-id"] = "forged" } })
  test.equal(res.status, 401)
  test.equal(res.headers["www-authenticate"], "Bearer")
  test.equal(#gw.received, 0)
end

function M.test_tells_the_backend_who_it_is()
  local gw = gateway()
  local headers = bearer({ sub = "7", email = "ada@example.com" })
  headers["x-user-id"] = "forged"
  test.equal(gw:request({ headers = headers }).status, 200)
  test.equal(gw.received[1].headers["x-user-id"], "7")
  test.equal(gw.received[1].headers["x-user-email"], "ada@example.com")
end

function M.test_a_token_expires()
  local gw = gateway()
  local headers = bearer({ sub = "7", exp = time.now() + 60 })
  test.equal(gw:request({ headers = headers }).status, 200)
  test.advance("61s")
  local res = gw:request({ headers = headers })
  test.equal(res.status, 401)
  test.contains(res.headers["www-authenticate"], 'error_description="expired"')
end

function M.test_refuses_what_another_secret_signed()
  local forged = jwt.sign({ sub = "7" }, { algorithm = "HS256", secret = "another-secret-of-32-characters-ok" })
  test.equal(gateway():request({ headers = { authorization = "Bearer " .. forged } }).status, 401)
end

return M
