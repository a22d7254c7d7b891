local M = {}

local USER = { id = 7, name = "Ada", secret = "x", address = { city = "London", zip = "N1" } }

local function problems(parts, merge)
  return test.plugin("aggregate.lua", { config = { parts = parts, merge = merge } }):problems()
end

-- A gateway on `/users/{id}` whose services answer.
local function gateway(parts, more)
  local config = more or {}
  config.parts = parts
  local gw = test.plugin("aggregate.lua", { config = config, route = { paths = { "/users/{id}" } } })
  gw:answer("GET", "svc://users/users/7", { json = USER })
  gw:answer("GET", "svc://orders/*", { json = { data = { items = { { n = 1, x = 2 }, { n = 2, x = 3 } } } } })
  gw:answer("GET", "svc://broken/*", { status = 500 })
  gw:answer("GET", "svc://slow/*", { delay = "2s" })
  gw:answer("GET", "svc://text/*", { body = "no json" })
  return gw
end

local USERS = { name = "user", url = "svc://users/users/{params.id}" }

function M.test_merges_shaped_parts()
  local user = { name = "user", url = USERS.url, deny = { "secret", "address.zip" }, rename = { name = "called" } }
  local orders = { name = "orders", url = "svc://orders/of", extract = "data.items", allow = { "n" } }
  local item = { name = "first", url = "svc://orders/of", extract = "/data/items/1", group = "one" }
  local res = gateway({ user, orders, item }):request({ path = "/users/7" })
  test.equal(res.status, 200)
  local expected = { id = 7, called = "Ada", address = { city = "London" }, one = { n = 2, x = 3 } }
  expected.orders = { { n = 1 }, { n = 2 } }
  test.equal(res.json, expected)
  test.equal(res.headers["x-gateway-completed"], "true")
  test.equal(res.headers["cache-control"], nil)
end

function M.test_parts_use_values_of_the_request_and_of_other_parts()
  local orders = { name = "orders", url = "svc://orders/of/{parts.user.address.city}", group = "orders" }
  orders.query = { by = "{parts.user.id}", page = "{query.page}", size = "{query.size}" }
  orders.headers = { ["x-tenant"] = "t-{headers.x-tenant}", ["x-none"] = "{headers.x-none}" }
  -- Before the part that it needs, and merged before it.
  local gw = gateway({ orders, { name = "user", url = USERS.url, group = "user" } })
  local res = gw:request({ path = "/users/7?page=a%26b", headers = { ["x-tenant"] = "acme" } })
  test.equal(res.status, 200)
  test.equal(gw.received[1].url, "svc://users/users/7")
  test.equal(gw.received[2].url, "svc://orders/of/London?by=7&page=a%26b")
  test.equal(gw.received[2].headers["x-tenant"], "t-acme")
  test.equal(gw.received[2].headers["x-none"], nil)
end

function M.test_a_value_can_not_leave_its_segment()
  local gw = gateway({ { name = "orders", url = "svc://orders/of/{query.name}/x" } })
  gw:request({ path = "/users/7?name=..%2F..%2Fadmin%3Fa%23b" })
  test.equal(gw.received[1].url, "svc://orders/of/..%2F..%2Fadmin%3Fa%23b/x")
  for _, query in ipairs({ "", "?name=", "?name=..", "?name=." }) do
    local res = gw:request({ path = "/users/7" .. query })
    test.equal(res.status, 400, query)
    test.contains(res.body, "the request has no `query.name` that can be used")
  end
  test.equal(#gw.received, 1)
end

function M.test_a_part_that_is_missing()
  local function answer(url, optional, more)
    return gateway({ USERS, { name = "more", url = url, optional = optional } }, more):request({ path = "/users/7" })
  end
  for _, url in ipairs({ "svc://broken/x", "svc://text/x", "svc://orders/{parts.user.none}" }) do
    local refused = answer(url, false)
    test.equal(refused.status, 502, url)
    test.contains(refused.body, "the part `more` of this answer is not available")
    local partial = answer(url, true)
    test.equal(partial.status, 200, url)
    test.equal(partial.json.name, "Ada")
    test.equal(partial.headers["x-gateway-completed"], "false")
    test.equal(partial.headers["cache-control"], "no-store")
  end
  test.equal(answer("svc://slow/x", false, { timeout = "500ms" }).status, 504)
  test.equal(answer("svc://slow/x", true, { timeout = "500ms" }).headers["x-gateway-completed"], "false")
end

function M.test_fields_that_two_parts_have()
  local function answer(merge)
    local other = { name = "other", url = "svc://orders/of", extract = "/data/items/0", rename = { n = "id" } }
    return gateway({ USERS, other }, { merge = merge }):request({ path = "/users/7" })
  end
  test.equal(answer("error").status, 502)
  test.contains(answer("error").body, "the part `other` of this answer has a field that another part has")
  test.equal(answer("first").json.id, 7)
  test.equal(answer("last").json.id, 1)
  local one = { name = "one", url = USERS.url, allow = { "address.city" }, group = "a" }
  local two = { name = "two", url = USERS.url, allow = { "address.zip", "name" }, group = "a" }
  local deep = gateway({ one, two }, { merge = "deep" }):request({ path = "/users/7" })
  test.equal(deep.json.a, { name = "Ada", address = { city = "London", zip = "N1" } })
end

function M.test_sends_the_body_where_it_is_told_to()
  local part = { name = "made", url = "svc://sink/x", method = "POST", body = true }
  local gw = gateway({ part, USERS })
  gw:answer("POST", "svc://sink/x", { json = { made = true } })
  local res = gw:request({ method = "POST", path = "/users/7", json = { a = 1 } })
  test.equal(res.json.made, true)
  local sent = if gw.received[1].method == "POST" then gw.received[1] else gw.received[2]
  test.equal(sent.body, '{"a":1}')
  test.equal(sent.headers["content-type"], "application/json")
end

function M.test_descriptions_that_can_not_work_are_found_when_they_are_loaded()
  local function part(name, url)
    return { name = name, url = url }
  end
  test.contains(problems({ part("a", "svc://s/{id}") }), "part `a`: `{id}` is none of `{params.…}`")
  test.contains(problems({ part("a", "svc://s/{parts.b.id}") }), "part `a`: there is no part `b`")
  test.contains(problems({ part("a", "svc://s/x"), part("a", "svc://s/y") }), "the part `a` is there twice")
  local round = { part("a", "svc://s/{parts.b.x}"), part("b", "svc://s/{parts.a.x}") }
  test.contains(problems(round), "part `a`: it needs a value that needs it")
  test.contains(problems({ part("a", "svc://s/x") }, "mix"), "`merge`: expected")
end

return M
