-- Limits how deeply a GraphQL query nests. Fragments can't hide depth: the deepest operation and every fragment are added
-- up, which is never less than the true depth. Braces in strings, comments and arguments don't count.
--   curl -i --json '{"query":"{ user { name } }"}' http://lua.localhost:8080/graphql
--   curl -i --json '{"query":"{ a { b { c { d { e } } } } }"}' http://lua.localhost:8080/graphql
local M = {}

local TOKENS = [["""(?:\\"""|(?s:.))*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}()]|\bfragment\b]]

local function depth_of(query)
  local depth, arguments, deepest, operation, fragments = 0, 0, 0, 0, 0
  local in_fragment = false
  for _, token in ipairs(regex.find_all(TOKENS, query)) do
    if token == "(" then
      arguments += 1
    elseif token == ")" then
      arguments -= 1
    elseif arguments > 0 then
      continue
    elseif token == "fragment" then
      in_fragment = in_fragment or depth == 0
    elseif token == "{" then
      depth += 1
      deepest = math.max(deepest, depth)
    elseif token == "}" then
      depth -= 1
      if depth == 0 then
        if in_fragment then fragments += deepest else operation = math.max(operation, deepest) end
        deepest, in_fragment = 0, false
      end
    end
  end
  return operation + fragments
end

function M.on_request(req, ctx)
  local queries = req.query:all("query")
  if req.method == "POST" then
    local body = req:json()
    if type(body) == "table" then table.insert(queries, body.query) end
  end
  -- One in the URL and one in the body: the service might take the one that was not looked at.
  if #queries ~= 1 or type(queries[1]) ~= "string" then return reply.error(400, "one GraphQL `query` is expected") end
  local depth = depth_of(queries[1])
  if depth > ctx.config.max_depth then
    return reply.error(400, "the query is " .. depth .. " deep: at most " .. ctx.config.max_depth .. " are allowed")
  end
end

return M
