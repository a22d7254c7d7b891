-- The users service of the demo.
local M = {}

function M.handle(req, ctx)
  local id = req.params.id
  return reply.json(200, {
    id = id,
    name = "Ada Lovelace",
    email = "ada@example.com",
    avatarUrl = "https://cdn.example.com/avatars/" .. id .. ".png",
  })
end

return M
