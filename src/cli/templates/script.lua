-- NAME: a route script. Name it in the configuration: `plugins: [{script: NAME.lua}]`.
-- All hooks are optional; what they can use is in the reference.
local M = {}

-- Once, when the configuration is loaded: what it returns is `ctx.state` afterwards.
function M.on_load(config)
  return { greeting = "hello" }
end

-- Before the backend. Return nothing to go on, or a reply that is answered instead.
function M.on_request(req, ctx)
  if req.headers["x-blocked"] then
    return reply.error(403, "not from here")
  end
  req.headers["x-greeting"] = ctx.state.greeting
end

-- When the head of the response is here, from the backend, a reply or an error.
function M.on_response(res, ctx)
  res.headers["x-served-by"] = "NAME"
end

return M
