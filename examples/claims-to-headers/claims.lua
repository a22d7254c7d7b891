-- Writes claims of the verified token into headers: a path of names for each header; lists are joined by commas.
--   curl -i -H "Authorization: Bearer $TOKEN" http://lua.localhost:8080/
local M = {}

function M.on_load(config)
  local paths = {}
  for header, path in pairs(config.headers) do
    paths[header] = string.split(path, ".")
  end
  return { paths = paths }
end

-- Nothing for what a header can't hold: a list must be of plain values, and a line has no breaks.
local function text(value)
  if type(value) == "table" then
    local parts = {}
    for index, part in ipairs(value) do
      local word = if type(part) == "table" then nil else text(part)
      if not word or string.find(word, ",", 1, true) then return nil end
      parts[index] = word
    end
    return if #parts > 0 then table.concat(parts, ",") else nil
  end
  if value == nil or value == json.null then return nil end
  value = tostring(value)
  return if string.find(value, "%c") then nil else value
end

function M.on_request(req, ctx)
  for header, path in pairs(ctx.state.paths) do
    local value = ctx.identity.claims
    for _, name in ipairs(path) do
      value = if type(value) == "table" then value[name] else nil
    end
    -- Nothing removes: a client's own header never stands in for a missing claim.
    req.headers[header] = text(value)
  end
end

return M
