--[[ plugin.toml
name = "transform"
version = "1.0.0"
kind = "transform"
description = "Rewrites JSON bodies by a mapping: the new document is written down, with `$.path` where a value of the old one goes."

[config]
request = { type = "any", description = "the body that the backend gets" }
response = { type = "any", description = "the body that the client gets, for answers below 300" }
]]

local M = {}

-- A mapping is taken apart once: `$.a.b` becomes a path, `$$` stands for a `$`, everything else is itself.
local function compile(template)
  if type(template) == "table" then
    local parts = {}
    for key, value in pairs(template) do
      parts[key] = compile(value)
    end
    -- An empty table alone does not tell.
    return { parts = parts, list = string.sub(json.encode(template), 1, 1) == "[" }
  end
  if type(template) ~= "string" or string.sub(template, 1, 1) ~= "$" then return { value = template } end
  if string.sub(template, 1, 2) == "$$" then return { value = string.sub(template, 2) } end
  if template == "$" then return { path = {} } end
  if string.sub(template, 1, 2) ~= "$." then
    error("`" .. template .. "`: a path begins with `$.`, and `$$` stands for a `$`", 0)
  end
  return { path = string.split(string.sub(template, 3), ".") }
end

local function at(document, path)
  for _, step in ipairs(path) do
    if type(document) ~= "table" then return nil end
    if #document > 0 then
      document = if string.match(step, "^%d+$") and #step < 10 then document[tonumber(step) + 1] else nil
    else
      document = document[step]
    end
  end
  return document
end

local function fill(template, document)
  if template.path then return at(document, template.path) end
  if not template.parts then return template.value end
  local made = if template.list then json.array() else {}
  for key, part in pairs(template.parts) do
    local value = fill(part, document)
    -- What is absent leaves no hole in a list.
    if template.list then
      if value ~= nil then made[#made + 1] = value end
    else
      made[key] = value
    end
  end
  return made
end

-- A list is mapped item by item.
local function map(template, document)
  if #document == 0 then return fill(template, document) end
  local made = json.array()
  for _, item in ipairs(document) do
    local value = fill(template, item)
    if value ~= nil then made[#made + 1] = value end
  end
  return made
end

local function is_json(message)
  local kind = string.lower(message.headers["content-type"] or "")
  kind = string.match(string.split(kind, ";")[1], "^%s*(.-)%s*$")
  return string.sub(kind, -5) == "/json" or string.sub(kind, -5) == "+json"
end

-- What the gateway can take off a body; what it can't read passes as it is.
local CODINGS = { gzip = true, deflate = true, br = true, zstd = true, identity = true }

local function rewrite(message, template)
  local coding = message.headers["content-encoding"]
  if not is_json(message) or (coding and not CODINGS[string.lower(coding)]) then return end
  local is_read, document = pcall(message.json, message)
  if not is_read or type(document) ~= "table" then return end
  message:set_json(map(template, document))
end

function M.on_load(config)
  return {
    request = config.request and compile(config.request),
    response = config.response and compile(config.response),
  }
end

function M.on_request(req, ctx)
  if ctx.state.request then rewrite(req, ctx.state.request) end
end

function M.on_response(res, ctx)
  if ctx.state.response and res.from == "upstream" and res.status < 300 then
    rewrite(res, ctx.state.response)
  end
end

return M
