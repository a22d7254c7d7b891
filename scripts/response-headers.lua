--[[ plugin.toml
name = "response-headers"
version = "1.0.0"
kind = "transform"
description = "Removes, sets and adds headers of what clients get, be it from the service, from a script or an error of the gateway."

[config]
remove = { type = "list", items = { type = "string" }, default = [], description = "headers that go" }
set = { type = "map", items = { type = "string" }, default = {}, description = "headers that take the place of those with the same name" }
add = { type = "map", items = { type = "string" }, default = {}, description = "values that stand beside those that are there" }
]]

local M = {}

-- They say where a message ends; the gateway writes them itself.
local FRAMING = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true, upgrade = true }

local function check(name)
  if not regex.test("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", name) then error("`" .. name .. "` is not a header's name", 0) end
  if FRAMING[string.lower(name)] then error("`" .. name .. "` is written by the gateway", 0) end
end

local function pairs_of(map)
  local list = json.array()
  for name, value in pairs(map) do
    check(name)
    if regex.test("[\\x00-\\x08\\x0a-\\x1f\\x7f]", value) then error("the value of `" .. name .. "` has a control character in it", 0) end
    table.insert(list, { name = name, value = value })
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

function M.on_load(config)
  for _, name in ipairs(config.remove) do
    check(name)
  end
  return { remove = config.remove, set = pairs_of(config.set), add = pairs_of(config.add) }
end

function M.on_response(res, ctx)
  local state, headers = ctx.state, res.headers
  for _, name in ipairs(state.remove) do
    headers[name] = nil
  end
  for _, header in ipairs(state.set) do
    headers[header.name] = header.value
  end
  for _, header in ipairs(state.add) do
    headers:add(header.name, header.value)
  end
end

return M
