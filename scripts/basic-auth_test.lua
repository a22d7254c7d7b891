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

local function problems_of(users)
  return test.plugin("basic-auth.lua", { config = { users = users } }):problems()
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
  test.contains(problems_of({ ada = "lovelace" }), "user `ada`: a password is written `$pbkdf2-sha256$i=")
  test.contains(problems_of({ ["a:b"] = "sha256:s:" .. crypto.sha256("sx") }), "user `a:b`: a name has no colon")
end

local PYTHONS = "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$HAd+zgLNLUX1MxzwI7oPIYgXasEiSyq9gzQtqGfPUlU"

function M.test_passwords_that_are_slow_to_guess()
  -- As others write it.
  local with_length = string.gsub(PYTHONS, "i=1000", "i=1000,l=32")
  local users = { ada = PYTHONS, bob = crypto.hash_password("€", 1000), cyd = with_length }
  local gw = test.plugin("basic-auth.lua", { config = { users = users } })
  for _ = 1, 2 do
    test.equal(gw:request({ headers = basic("ada:lovelace:1") }).status, 200)
    test.equal(gw:request({ headers = basic("bob:€") }).status, 200)
    test.equal(gw:request({ headers = basic("cyd:lovelace:1") }).status, 200)
    for _, pair in ipairs({ "ada:lovelace", "ada:", "bob:lovelace:1", "eve:lovelace:1" }) do
      test.equal(gw:request({ headers = basic(pair) }).status, 401, pair)
    end
  end
  test.equal(gw:request().status, 401)
  test.equal(#gw.received, 6)
  test.equal(#gw.logs, 0)
end

function M.test_older_passwords_work_with_a_warning()
  local users = { ada = "sha256:s:" .. crypto.sha256("sx"), bob = PYTHONS }
  local gw = test.plugin("basic-auth.lua", { config = { users = users } })
  test.equal(gw:request({ headers = basic("ada:x") }).status, 200)
  test.equal(gw:request({ headers = basic("bob:lovelace:1") }).status, 200)
  test.contains(gw.logs[1].message, "fast to guess: store those of ada by")
end

function M.test_stored_passwords_that_can_not_be_are_found_when_they_are_loaded()
  local salt, hash = "c2FsdHNhbHQ", "AAAAAAAAAAAAAAAAAAAAAA"
  local function stored(iterations, a, b)
    return "$pbkdf2-sha256$" .. iterations .. "$" .. a .. "$" .. b
  end
  local wrong = { stored("i=999", salt, hash), stored("i=10000001", salt, hash), stored("i=1e4", salt, hash) }
  table.insert(wrong, stored("i=1000", "c2FsdA", hash))
  table.insert(wrong, stored("i=1000", salt, "!"))
  table.insert(wrong, "$2b$10$" .. hash)
  for _, parameters in ipairs({ "i=1000,i=1000", "i=0,i=1000", "i=1000,x=1", "l=32", "i=1000,", "" }) do
    table.insert(wrong, stored(parameters, salt, hash))
  end
  for _, text in ipairs(wrong) do
    test.contains(problems_of({ ada = text }), "user `ada`: a password is written `$pbkdf2-sha256$i=", text)
  end
  test.equal(problems_of({ ada = stored("i=1000", salt, hash), bob = stored("l=16,i=1000", salt, hash) }), "")
end

return M
