local M = {}

function M.test_maps_the_answer_of_the_backend()
  local mapping = { id = "$.userId", name = { first = "$.firstName" }, source = "legacy" }
  local gw = test.plugin("transform.lua", { config = { response = mapping } })
  gw:answer("GET", "svc://backend/users/7", { json = { userId = 7, firstName = "Ada" } })
  local res = gw:request({ path = "/users/7" })
  test.equal(res.json, { id = 7, name = { first = "Ada" }, source = "legacy" })
end

function M.test_maps_a_list_item_by_item()
  local gw = test.plugin("transform.lua", { config = { response = { id = "$.userId" } } })
  gw:answer("GET", "svc://backend/users", { json = { { userId = 1 }, { userId = 2 } } })
  test.equal(gw:request({ path = "/users" }).json, { { id = 1 }, { id = 2 } })
end

function M.test_maps_what_the_backend_gets()
  local gw = test.plugin("transform.lua", { config = { request = { userId = "$.id" } } })
  gw:request({ method = "POST", json = { id = 7 } })
  test.equal(gw.received[1].json, { userId = 7 })
end

function M.test_leaves_errors_and_other_types_alone()
  local gw = test.plugin("transform.lua", { config = { response = { id = "$.userId" } } })
  gw:answer("GET", "svc://backend/error", { status = 404, json = { userId = 1 } })
  gw:answer("GET", "svc://backend/text", { body = "userId", headers = { ["content-type"] = "text/plain" } })
  test.equal(gw:request({ path = "/error" }).json, { userId = 1 })
  test.equal(gw:request({ path = "/text" }).body, "userId")
end

return M
