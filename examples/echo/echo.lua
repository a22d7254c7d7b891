-- Answers with what it was asked: to see what a gateway in front of it forwards.
--   curl -d hello 'http://127.0.0.1:9001/any/path?a=1'
local M = {}

function M.handle(req, ctx)
  return reply.json(200, { method = req.method, path = req.path, query = req.query.raw, body = req:text() })
end

return M
