local M = {}

function M.test_only_what_is_allowed_passes()
  local gw = test.plugin("ip-restriction.lua", { config = { allow = { "192.0.2.0/24", "2001:db8::/32" } } })
  test.equal(gw:request({ client = "192.0.2.7" }).status, 200)
  test.equal(gw:request({ client = "2001:db8::7" }).status, 200)
  local res = gw:request({ client = "192.0.3.7" })
  test.equal(res.status, 403)
  test.contains(res.body, "your address may not use this")
  test.equal(#gw.received, 2)
end

function M.test_what_is_denied_does_not_pass_even_when_it_is_allowed()
  local gw = test.plugin("ip-restriction.lua", { config = { allow = { "192.0.2.0/24" }, deny = { "192.0.2.7" } } })
  test.equal(gw:request({ client = "192.0.2.7" }).status, 403)
  test.equal(gw:request({ client = "192.0.2.8" }).status, 200)
end

function M.test_without_a_list_of_allowed_ones_all_others_pass()
  local config = { deny = { "192.0.2.0/24" }, status = 404, message = "there is nothing here" }
  local gw = test.plugin("ip-restriction.lua", { config = config })
  test.equal(gw:request({ client = "198.51.100.1" }).status, 200)
  local res = gw:request({ client = "192.0.2.7" })
  test.equal(res.status, 404)
  test.contains(res.body, "there is nothing here")
end

function M.test_a_client_does_not_say_itself_where_it_is()
  local gw = test.plugin("ip-restriction.lua", { config = { allow = { "192.0.2.7" } } })
  local headers = { ["x-forwarded-for"] = "192.0.2.7" }
  test.equal(gw:request({ client = "198.51.100.1", headers = headers }).status, 403)
  test.equal(gw:request({ client = "192.0.2.7", headers = { ["x-forwarded-for"] = "198.51.100.1" } }).status, 200)
end

function M.test_lists_that_can_not_work_are_found_when_they_are_loaded()
  local none = test.plugin("ip-restriction.lua", { config = {} })
  test.contains(none:problems(), "`allow` or `deny` must name an address or a network")
  local wrong = test.plugin("ip-restriction.lua", { config = { allow = { "192.0.2.0/33" } } })
  test.contains(wrong:problems(), "192.0.2.0/33")
end

return M
