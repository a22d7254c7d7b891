-- Run by `gatewright test`: each function named `test_…` is a case.
local M = {}

function M.test_adds_the_header()
  local gw = test.plugin("main.lua", { config = { value = "hello" } })
  test.equal(gw:request().headers[string.lower("x-NAME")], "hello")
end

return M
