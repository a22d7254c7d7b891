--[[ plugin.toml
name = "cors"
version = "1.0.0"
kind = "traffic"
description = "Lets pages of other origins call the route (the Fetch standard's CORS protocol); preflights are answered here."

[config]
origins = { type = "list", items = { type = "string" }, required = true, min = 1, description = "such as `https://app.example.com`; `*.` in place of the first label stands for any, `*` alone for every origin" }
methods = { type = "list", items = { type = "string" }, default = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], description = "what a page may do" }
headers = { type = "list", items = { type = "string" }, default = [], description = "request headers that a page may send; none: those that it asks for" }
expose = { type = "list", items = { type = "string" }, default = [], description = "response headers that a page may read" }
credentials = { type = "boolean", default = false, description = "whether cookies and Authorization may be sent" }
max_age = { type = "duration", default = "10m", description = "how long a browser may remember a preflight" }
]]

local M = {}

function M.on_load(config)
  local state = {
    any = false,
    exact = {},
    endings = json.array(),
    methods = table.concat(config.methods, ", "),
    headers = table.concat(config.headers, ", "),
    expose = table.concat(config.expose, ", "),
    max_age = math.ceil(config.max_age),
  }
  for _, origin in ipairs(config.origins) do
    local scheme, host = string.match(origin, "^(.-://)%*(%..+)$")
    if origin == "*" then
      state.any = true
    elseif scheme then
      table.insert(state.endings, { scheme = scheme, host = host })
    else
      state.exact[origin] = true
    end
  end
  -- The Fetch standard forbids the two together; reflecting every origin instead would open the route to any page.
  if state.any and config.credentials then
    error("`origins: ['*']` and `credentials: true` exclude each other: name the origins", 0)
  end
  return state
end

local function allowed(origin, state)
  if state.any or state.exact[origin] then return true end
  for _, ending in ipairs(state.endings) do
    local long_enough = #origin > #ending.scheme + #ending.host
    if long_enough and string.sub(origin, 1, #ending.scheme) == ending.scheme and string.sub(origin, -#ending.host) == ending.host then
      return true
    end
  end
  return false
end

function M.on_request(req, ctx)
  local origin = req.headers["origin"]
  if not origin then return end
  ctx.vars["cors origin"] = origin
  -- A preflight (Fetch §3.2.2) never reaches the backend; on_response says whether the origin may call.
  if req.method ~= "OPTIONS" or not req.headers:has("access-control-request-method") then return end
  if not allowed(origin, ctx.state) then return reply.empty(204) end
  local headers = ctx.state.headers
  if headers == "" then headers = req.headers["access-control-request-headers"] or "" end
  local answer = {
    ["access-control-allow-methods"] = ctx.state.methods,
    ["access-control-max-age"] = ctx.state.max_age,
    vary = "access-control-request-headers",
  }
  if headers ~= "" then answer["access-control-allow-headers"] = headers end
  return reply.empty(204, answer)
end

function M.on_response(res, ctx)
  local state = ctx.state
  -- The backend's own answers to this question would stand beside ours, and browsers refuse two.
  for _, name in ipairs({ "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers" }) do
    res.headers[name] = nil
  end
  if not state.any then res.headers:add("vary", "origin") end
  local origin = ctx.vars["cors origin"]
  if not origin or not allowed(origin, state) then return end
  res.headers["access-control-allow-origin"] = if state.any then "*" else origin
  if ctx.config.credentials then res.headers["access-control-allow-credentials"] = "true" end
  if state.expose ~= "" then res.headers["access-control-expose-headers"] = state.expose end
end

return M
