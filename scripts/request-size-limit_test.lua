local M = {}

function M.test_a_body_as_large_as_the_limit_passes()
  local gw = test.plugin("request-size-limit.lua", { config = { max = 8 } })
  test.equal(gw:request({ method = "POST", body = "12345678" }).status, 200)
  test.equal(gw.received[1].body, "12345678")
  test.equal(gw:request().status, 200)
end

function M.test_refuses_a_larger_one()
  local gw = test.plugin("request-size-limit.lua", { config = { max = 8 } })
  local res = gw:request({ method = "POST", body = "123456789" })
  test.equal(res.status, 413)
  test.contains(res.body, "the request body is larger than 8 bytes")
  test.equal(#gw.received, 0)
end

function M.test_counts_bytes_and_not_characters()
  local gw = test.plugin("request-size-limit.lua", { config = { max = 8 } })
  test.equal(gw:request({ method = "POST", body = "€€" }).status, 200)
  test.equal(gw:request({ method = "POST", body = "€€€" }).status, 413)
end

function M.test_the_limit_may_have_a_unit()
  local gw = test.plugin("request-size-limit.lua", { config = { max = "1KiB" } })
  test.equal(gw:request({ method = "POST", body = string.rep("x", 1024) }).status, 200)
  local res = gw:request({ method = "POST", body = string.rep("x", 1025) })
  test.equal(res.status, 413)
  test.contains(res.body, "the request body is larger than 1024 bytes")
end

return M
