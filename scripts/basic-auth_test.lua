local M = {}

local function gateway(more)
  local config = more or {}
  config.users = {
    ada = "sha256:s1:" .. crypto.sha256("s1" .. "lovelace:1"),
    ["ä"] = "sha256:s2:" .. crypto.sha256("s2" .. "€"),
  }
  return test.plugin("basic-auth.lua", { config = config })
end

local function basic(pair)
  return { authorization = "Basic " .. base64.encode(pair), ["x-user-id"] = "forged" }
end

function M.test_tells_the_backend_who_it_is()
  local gw = gateway()
  test.equal(gw:request({ headers = basic("ada:lovelace:1") }).status, 200)
  test.equal(gw.received[1].headers["x-user-id"], "ada")
  test.equal(gw.received[1].headers.authorization, nil)
  test.equal(gw:request({ headers = basic("ä:€") }).status, 200)
end

function M.test_refuses_with_a_challenge()
  local gw = gateway({ realm = 'the "gate"' })
  local res = gw:request()
  test.equal(res.status, 401)
  test.equal(res.headers["www-authenticate"], 'Basic realm="the \\"gate\\"", charset="UTF-8"')
  test.equal(#gw.received, 0)
end

function M.test_refuses_other_names_passwords_and_schemes()
  local gw = gateway()
  for _, pair in ipairs({ "ada:lovelace", "ada:", "ada", "bob:lovelace:1", ":lovelace:1", "ada:€", "" }) do
    test.equal(gw:request({ headers = basic(pair) }).status, 401, pair)
  end
  local right = base64.encode("ada:lovelace:1")
  for _, value in ipairs({ "Bearer " .. right, right, "Basic ***" }) do
    test.equal(gw:request({ headers = { authorization = value } }).status, 401, value)
  end
  test.equal(#gw.received, 0)
end

function M.test_the_backend_may_see_the_password_when_it_has_to()
  local gw = gateway({ hide_credentials = false, identity_header = "x-login" })
  local headers = basic("ada:lovelace:1")
  test.equal(gw:request({ headers = headers }).status, 200)
  test.equal(gw.received[1].headers.authorization, headers.authorization)
  test.equal(gw.received[1].headers["x-login"], "ada")
end

function M.test_users_that_can_not_work_are_found_when_they_are_loaded()
  local function problems(users)
    return test.plugin("basic-auth.lua", { config = { users = users } }):problems()
  end
  test.contains(problems({ ada = "lovelace" }), "user `ada`: a password is written `sha256:SALT:HASH`")
  test.contains(problems({ ["a:b"] = "sha256:s:" .. crypto.sha256("sx") }), "user `a:b`: a name has no colon")
end

return M
