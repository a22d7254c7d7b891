--[[ plugin.toml
name = "request-validation"
version = "1.1.0"
kind = "validate"
description = "Holds requests against an OpenAPI document or against JSON Schemas (2020-12), and tells a client everything that is wrong, each with its JSON pointer."

[config]
openapi = { type = "openapi", description = "an OpenAPI document (3.0 or 3.1) that validates the whole service: the path of its file from here, in YAML or JSON, or the document itself. A `$ref` in it leads to files in its folder and below, nowhere else" }
base_path = { type = "string", description = "with `openapi`, the path that the service is under here, in place of those of the document's `servers`" }
unknown = { type = "string", default = "refuse", one_of = ["refuse", "pass"], description = "with `openapi`, what becomes of a path or method that the document doesn't have: 404, or 405 with `Allow`; or it goes on" }
body = { type = "any", description = "the schema of a JSON body" }
body_required = { type = "boolean", default = true, description = "whether POST, PUT and PATCH need a body" }
content_types = { type = "list", items = { type = "string" }, default = [], description = "what a body may be; none: `application/json` and all that end in `+json`" }
query = { type = "any", description = "the schema of the query's parameters, an object; texts count as numbers, booleans and arrays where it says so" }
headers = { type = "any", description = "the same of headers, in lower case" }
params = { type = "any", description = "the same of the path's parameters" }
max_errors = { type = "integer", default = 20, min = 1, max = 1000, description = "how many violations are listed" }
max_body = { type = "size", default = "1MiB", min = 1, description = "the largest body that is looked at; larger ones are refused" }
status = { type = "integer", default = 422, min = 400, max = 499, description = "of a request that is well formed and not as it should be" }
]]

local M = {}

local function compiled(config, part)
  if config[part] == nil then return nil end
  local is_compiled, result = pcall(schema.compile, config[part])
  if not is_compiled then error("`" .. part .. "`: " .. tostring(result), 0) end
  return result
end

function M.on_load(config)
  if type(config.headers) == "table" and type(config.headers.properties) == "table" then
    for name in pairs(config.headers.properties) do
      if name ~= string.lower(name) then error("`headers`: write `" .. name .. "` in lower case", 0) end
    end
  end
  local types = {}
  for _, kind in ipairs(config.content_types) do
    types[string.lower(kind)] = true
  end
  return {
    body = compiled(config, "body"),
    query = compiled(config, "query"),
    headers = compiled(config, "headers"),
    params = compiled(config, "params"),
    types = #config.content_types > 0 and types,
    api = config.openapi and schema.openapi(config.openapi),
  }
end

local function media_type(req)
  local kind = string.lower(req.headers["content-type"] or "")
  return string.match(string.split(kind, ";")[1], "^%s*(.-)%s*$")
end

local function is_expected(kind, types)
  if types then return types[kind] == true end
  return kind == "application/json" or string.sub(kind, -5) == "+json"
end

local function texts(object)
  local all = {}
  for name in pairs(object) do
    all[name] = object:all(name)
  end
  return all
end

local NEEDS_BODY = { POST = true, PUT = true, PATCH = true }

-- A reply when there is no use in looking further; else violations.
local function look_at_body(req, ctx)
  local config, body = ctx.config, ctx.state.body
  if (tonumber(req.headers["content-length"]) or 0) > config.max_body then
    return reply.error(413, "the request body is larger than " .. config.max_body .. " bytes")
  end
  local bytes = req:bytes()
  if #bytes == 0 then
    if config.body_required and NEEDS_BODY[req.method] then return reply.error(400, "a request body is required") end
    return nil, {}
  end
  if #bytes > config.max_body then
    return reply.error(413, "the request body is larger than " .. config.max_body .. " bytes")
  end
  if #req.headers:all("content-type") > 1 or not is_expected(media_type(req), ctx.state.types) then
    return reply.error(415, "the request body is not of a content type that is expected here")
  end
  local found = body:validate_json(bytes, config.max_errors)
  local first = found[1]
  if first and first.keyword == "json" then return reply.error(400, "the request body is not JSON: " .. first.message) end
  if first and first.keyword == "duplicate" then return reply.error(400, "the request body: " .. first.message) end
  return nil, found
end

-- A reply when there is no use in looking further; else violations.
local function look_by_document(req, ctx)
  local config = ctx.config
  local options = { most = config.max_errors, max_body = config.max_body, base_path = config.base_path }
  local found = ctx.state.api:validate(req, options)
  if found.status == 200 or found.status == 422 then return nil, found.errors end
  local is_unknown = found.status == 404 or found.status == 405
  if is_unknown and config.unknown == "pass" then return nil, {} end
  return reply.error(found.status, found.detail, found.allow and { allow = found.allow })
end

function M.on_request(req, ctx)
  local config, state = ctx.config, ctx.state
  local errors = json.array()
  local function take(place, found)
    for _, violation in ipairs(found) do
      if #errors < config.max_errors then
        table.insert(errors, { ["in"] = place or violation.place, pointer = violation.pointer, keyword = violation.keyword, message = violation.message })
      end
    end
  end
  if state.api then
    local answer, found = look_by_document(req, ctx)
    if answer then return answer end
    take(nil, found)
  end
  if state.params then take("path", state.params:validate_texts(req.params, config.max_errors)) end
  if state.query then take("query", state.query:validate_texts(texts(req.query), config.max_errors)) end
  if state.headers then take("header", state.headers:validate_texts(texts(req.headers), config.max_errors)) end
  if state.body then
    local answer, found = look_at_body(req, ctx)
    if answer then return answer end
    take("body", found)
  end
  if #errors > 0 then
    return reply.error(config.status, "the request is not as it should be", nil, { errors = errors })
  end
end

return M
