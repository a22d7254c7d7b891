-- Turns each line of JSON into an event as soon as it is whole, so that words appear as the model says them. What the answer
-- cost stands in its last line; it goes to the log.
--   curl -N -d '{"model":"llama3","messages":[{"role":"user","content":"hi"}]}' http://lua.localhost:8080/
local M = {}

-- A line that is longer is no token.
local LONGEST = 65536

function M.on_response(res, ctx)
  local kind = string.lower(res.headers["content-type"] or "")
  if string.find(kind, "application/x-ndjson", 1, true) ~= 1 then return end
  res.headers["content-type"] = "text/event-stream"
  res.headers["cache-control"] = "no-store"
  ctx.vars.line = ""
end

local function event(line, ctx)
  local said = json.decode(line)
  if said.error then return "data: " .. json.encode({ error = { message = said.error } }) .. "\n\n" end
  local choice = { index = 0, delta = { content = said.message and said.message.content or "" } }
  if said.done then
    choice.finish_reason = said.done_reason or "stop"
    ctx.vars.cost = { read = said.prompt_eval_count or 0, written = said.eval_count or 0 }
  end
  local chunk = { object = "chat.completion.chunk", model = said.model, choices = json.array({ choice }) }
  return "data: " .. json.encode(chunk) .. (said.done and "\n\ndata: [DONE]\n\n" or "\n\n")
end

function M.on_response_chunk(chunk, ctx)
  local held = ctx.vars.line
  if held == nil then return end
  -- The last line may come without its end.
  held = held .. (chunk or "\n")
  local out, from = {}, 1
  while true do
    local at = string.find(held, "\n", from, true)
    if not at then break end
    local line = string.sub(held, from, at - 1)
    if string.find(line, "%S") then table.insert(out, event(line, ctx)) end
    from = at + 1
  end
  held = string.sub(held, from)
  if #held > LONGEST then error("a line is longer than " .. LONGEST .. " bytes") end
  ctx.vars.line = held
  return table.concat(out)
end

function M.on_log(ctx)
  local cost = ctx.vars.cost
  if cost then log.info("tokens", { read = cost.read, written = cost.written }) end
end

return M
