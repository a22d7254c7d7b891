local M = {}

function M.test_refuses_what_is_over_the_limit_until_the_window_has_passed()
  local gw = test.plugin("rate-limit.lua", { config = { limit = 2, window = "60s" } })
  test.equal(gw:request().status, 200)
  local second = gw:request()
  test.equal(second.headers["ratelimit-policy"], '"default";q=2;w=60')
  test.contains(second.headers["ratelimit"], '"default";r=0')
  local third = gw:request()
  test.equal(third.status, 429)
  test.equal(third.headers["retry-after"], "60")
  test.equal(#gw.received, 2)
  test.advance("61s")
  test.equal(gw:request().status, 200)
end

function M.test_counts_each_client_for_itself()
  local gw = test.plugin("rate-limit.lua", { config = { limit = 1 } })
  test.equal(gw:request({ client = "192.0.2.1" }).status, 200)
  test.equal(gw:request({ client = "192.0.2.1" }).status, 429)
  test.equal(gw:request({ client = "192.0.2.2" }).status, 200)
end

function M.test_counts_by_a_header()
  local gw = test.plugin("rate-limit.lua", { config = { limit = 1, by = "header:x-team" } })
  test.equal(gw:request({ headers = { ["x-team"] = "red" } }).status, 200)
  test.equal(gw:request({ headers = { ["x-team"] = "red" } }).status, 429)
  test.equal(gw:request({ headers = { ["x-team"] = "blue" } }).status, 200)
end

function M.test_an_unknown_way_to_count_is_found_when_it_is_loaded()
  local gw = test.plugin("rate-limit.lua", { config = { by = "moon" } })
  test.contains(gw:problems(), "`moon` is not `ip`, `header:NAME`, `identity` or `route`")
end

return M
