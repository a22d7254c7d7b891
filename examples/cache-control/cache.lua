-- Sets Cache-Control by the content type of good answers. What the service says itself stays.
--   curl -i http://lua.localhost:8080/
local M = {}

local function value_for(kind, config)
  for _, rule in ipairs(config.types) do
    if string.sub(kind, 1, #rule.begins) == rule.begins then return rule.value end
  end
  return config.others
end

function M.on_response(res, ctx)
  if res.status ~= 200 or res.headers:has("cache-control") then return end
  -- A cookie belongs to one visitor: no cache may give it to the next.
  if res.headers:has("set-cookie") then
    res.headers["cache-control"] = "private, no-cache"
    return
  end
  res.headers["cache-control"] = value_for(string.lower(res.headers["content-type"] or ""), ctx.config)
end

return M
