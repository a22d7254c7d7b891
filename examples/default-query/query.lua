-- Completes and bounds the query string, so that the service need not.
--   curl -i 'http://lua.localhost:8080/items?limit=5000&debug=1'
local M = {}

function M.on_request(req, ctx)
  for _, name in ipairs(ctx.config.never) do
    req.query[name] = nil
  end
  for name, most in pairs(ctx.config.most) do
    local value = req.query[name]
    if value and not regex.test("^[0-9]{1,9}$", value) then
      return reply.error(400, "`" .. name .. "` is a number")
    end
    -- Assigned even if it is small enough: a second value of the same name is gone then.
    if value then req.query[name] = math.min(tonumber(value), most) end
  end
  for name, value in pairs(ctx.config.defaults) do
    if not req.query:has(name) then req.query[name] = value end
  end
end

return M
