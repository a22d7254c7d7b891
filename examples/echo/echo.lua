-- Answers with what it was asked: to see what a gateway in front of it forwards.
--   curl -d hello 'http://127.0.0.1:9001/any/path?a=1'
local M = {}

function M.handle(req, ctx)
  local headers = {}
  for _, name in ipairs(ctx.config.show) do
    headers[name] = req.headers[name]
  end
  return reply.json(200, { method = req.method, path = req.path, query = req.query.raw, headers = headers, body = req:text() })
end

return M
