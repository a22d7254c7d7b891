-- A/B routing by a cookie. A visitor without one is given a group by chance; the cookie keeps them in it.
--   curl -i http://lua.localhost:8080/                 (again and again: sometimes /old, sometimes /new)
--   curl -i -H 'Cookie: ab=b' http://lua.localhost:8080/
local M = {}

function M.on_request(req, ctx)
  local group = req.cookies[ctx.config.cookie]
  if group ~= "a" and group ~= "b" then
    local chance = tonumber(crypto.hex(crypto.random(2)), 16) % 100
    group = if chance < ctx.config.percent then "b" else "a"
    ctx.vars.new_group = group
  end
  if group == "b" then req.upstream = ctx.config.b end
end

function M.on_response(res, ctx)
  local group = ctx.vars.new_group
  if group then
    -- `add`: the shop's own cookies stay.
    res.headers:add("set-cookie", ctx.config.cookie .. "=" .. group .. "; Path=/; Max-Age=2592000; SameSite=Lax")
  end
end

return M
