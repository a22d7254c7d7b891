-- Filters a stream of Server-Sent Events, event by event as they come. An event that is not whole yet waits for its rest, so
-- that no word slips through because it came in two pieces.
--   curl -N http://lua.localhost:8080/
local M = {}

function M.on_response(res, ctx)
  local kind = string.lower(res.headers["content-type"] or "")
  if string.find(kind, "text/event-stream", 1, true) == 1 then ctx.vars.sse_held = "" end
end

-- An event without what is hidden; nothing when it is dropped.
local function filtered(event, config)
  local lines, kind = {}, ""
  for line in string.gmatch(event, "[^\n]+") do
    local name, value = string.match(line, "^([^:]*):? ?(.*)$")
    if name == "event" then kind = value end
    if name == "data" then line = "data: " .. regex.replace(config.hide, value, config.with) end
    table.insert(lines, line)
  end
  for _, dropped in ipairs(config.drop) do
    if kind == dropped then return "" end
  end
  return table.concat(lines, "\n") .. "\n\n"
end

function M.on_response_chunk(chunk, ctx)
  if ctx.vars.sse_held == nil then return end
  -- Clients throw away an event that never ended (HTML §9.2.6).
  if chunk == nil then return "" end
  -- A line may end in CR, LF or both, and the two may come in two pieces.
  if ctx.vars.sse_cr and string.sub(chunk, 1, 1) == "\n" then chunk = string.sub(chunk, 2) end
  ctx.vars.sse_cr = string.sub(chunk, -1) == "\r"
  local held = ctx.vars.sse_held .. string.gsub(chunk, "\r\n?", "\n")

  local out, from = {}, 1
  while true do
    local last, next = string.find(held, "\n\n", from, true)
    if not last then break end
    table.insert(out, filtered(string.sub(held, from, last), ctx.config))
    from = next + 1
  end
  held = string.sub(held, from)
  if #held > ctx.config.max_event then error("an event is longer than " .. ctx.config.max_event .. " bytes") end
  ctx.vars.sse_held = held
  return table.concat(out)
end

return M
