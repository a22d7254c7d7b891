--[[ plugin.toml
name = "aggregate"
version = "1.0.0"
kind = "respond"
description = "One JSON answer out of the answers of several services, from a description (a backend for a frontend). Parts are asked side by side under one deadline; one that needs a value of another is asked after it."

[config]
merge = { type = "string", default = "error", one_of = ["error", "first", "last", "deep"], description = "what counts when two parts have the same field: neither, and the answer is a 502; the first as written; the last; or both, objects put into one another and the last of other values" }
timeout = { type = "duration", description = "for all parts together; 85 % of what is left of the exchange's deadline when it is left out, as in KrakenD" }

[config.parts]
type = "list"
required = true
min = 1
description = "what is asked, in the order in which it is merged. `{params.NAME}`, `{query.NAME}`, `{headers.NAME}`, `{identity.NAME}` and `{parts.PART.PATH}` in `url`, `query` and `headers` stand for values of the request and of other parts; in `url` they are percent-encoded and can't leave their segment"

[config.parts.items]
type = "map"

[config.parts.items.fields]
name = { type = "string", required = true, min = 1, description = "of the part" }
url = { type = "string", required = true, min = 1, description = "such as `svc://users/users/{params.id}`" }
method = { type = "string", default = "GET", min = 1, description = "of the call" }
query = { type = "map", items = "string", default = {}, description = "more parameters of the URL; those whose value is not there are left out" }
headers = { type = "map", items = "string", default = {}, description = "of the call, such as `authorization: \"{headers.authorization}\"`; none of the request's goes along by itself" }
body = { type = "boolean", default = false, description = "whether the request's body goes along" }
optional = { type = "boolean", default = false, description = "whether there is an answer without it: then `X-Gateway-Completed: false` and `Cache-Control: no-store` say so" }
timeout = { type = "duration", description = "for this part" }
extract = { type = "string", description = "what of its answer is meant: a JSON pointer (`/data/items`) or a path (`data.items`)" }
allow = { type = "list", items = "string", default = [], description = "the only fields that are kept, as paths (`address.city`); of each item, in a list" }
deny = { type = "list", items = "string", default = [], description = "fields that are taken out" }
rename = { type = "map", items = "string", default = {}, description = "the old name to the new, after `allow` and `deny`" }
group = { type = "string", min = 1, description = "the field that it stands under; without it an object's fields are merged into the answer, and anything else stands under the part's name" }
]]

local M = {}

local SOURCES = { params = true, query = true, headers = true, identity = true, parts = true }

-- The names between braces.
local function placeholders(text, found)
  for name in string.gmatch(text, "{([^{}]*)}") do
    table.insert(found, name)
  end
  return found
end

local function segments(path)
  if string.sub(path, 1, 1) ~= "/" then return string.split(path, ".") end
  local names = {}
  for _, token in ipairs(string.split(string.sub(path, 2), "/")) do
    table.insert(names, (string.gsub(string.gsub(token, "~1", "/"), "~0", "~")))
  end
  return names
end

-- Fields by name, each true or the fields below it.
local function tree(paths)
  local root = {}
  for _, path in ipairs(paths) do
    local at, names = root, segments(path)
    for index, name in ipairs(names) do
      if at[name] == true then break end
      if index == #names then at[name] = true else at[name] = at[name] or {} end
      at = at[name]
    end
  end
  return next(root) and root
end

local function is_list(value)
  return type(value) == "table" and (#value > 0 or getmetatable(value) == "json array")
end

local function is_object(value)
  return type(value) == "table" and not is_list(value)
end

-- What a part waits for; whether each name is one that can be.
local function needs(part, names)
  local found = placeholders(part.url, {})
  for _, map in ipairs({ part.query, part.headers }) do
    for _, text in pairs(map) do
      placeholders(text, found)
    end
  end
  local parts = {}
  for _, name in ipairs(found) do
    local words = string.split(name, ".")
    if not SOURCES[words[1]] or #words < 2 or words[2] == "" or (words[1] == "parts" and #words < 3) then
      error("part `" .. part.name .. "`: `{" .. name .. "}` is none of `{params.…}`, `{query.…}`, `{headers.…}`, `{identity.…}` and `{parts.PART.…}`", 0)
    end
    if words[1] == "parts" then
      if not names[words[2]] then error("part `" .. part.name .. "`: there is no part `" .. words[2] .. "`", 0) end
      parts[words[2]] = true
    end
  end
  return parts
end

-- Those that need nothing of each other are asked at once, the others after what they need; and the names of those that are needed.
local function in_turns(parts)
  local names = {}
  for _, part in ipairs(parts) do
    if names[part.name] then error("the part `" .. part.name .. "` is there twice", 0) end
    names[part.name] = true
  end
  local waiting, needed = {}, {}
  for _, part in ipairs(parts) do
    local entry = { part = part, needs = needs(part, names) }
    for name in pairs(entry.needs) do
      needed[name] = true
    end
    table.insert(waiting, entry)
  end
  local turns, done = {}, {}
  while #waiting > 0 do
    local turn, later = {}, {}
    for _, entry in ipairs(waiting) do
      local is_ready = true
      for name in pairs(entry.needs) do
        is_ready = is_ready and done[name] == true
      end
      table.insert(if is_ready then turn else later, entry)
    end
    if #turn == 0 then error("part `" .. later[1].part.name .. "`: it needs a value that needs it", 0) end
    local ready = {}
    for _, entry in ipairs(turn) do
      done[entry.part.name] = true
      table.insert(ready, entry.part)
    end
    table.insert(turns, ready)
    waiting = later
  end
  return turns, needed
end

function M.on_load(config)
  local shapes = {}
  for _, part in ipairs(config.parts) do
    local extract = part.extract and part.extract ~= "" and segments(part.extract)
    shapes[part.name] = { extract = extract, allow = tree(part.allow), deny = tree(part.deny) }
  end
  local turns, needed = in_turns(config.parts)
  return { turns = turns, needed = needed, shapes = shapes }
end

local function at(value, names, from)
  for index = from, #names do
    if type(value) ~= "table" then return nil end
    local name = names[index]
    if is_list(value) then
      local position = string.match(name, "^%d+$") and tonumber(name)
      value = position and value[position + 1]
    else
      value = value[name]
    end
  end
  return value
end

-- A value as text; nil when it is not there or none that can stand in a URL.
local function value_of(name, from)
  local words = string.split(name, ".")
  local value
  if words[1] == "parts" then
    value = at(from.parts[words[2]], words, 3)
  elseif words[1] == "identity" then
    value = at(from.identity, words, 2)
  else
    value = from[words[1]][table.concat(words, ".", 2)]
  end
  if value == nil or value == json.null or value == "" or type(value) == "table" then return nil end
  return if type(value) == "string" then value else json.encode(value)
end

-- The text with its values; nil when one is not there.
local function filled(text, from)
  local is_whole = true
  local made = string.gsub(text, "{([^{}]*)}", function(name)
    local value = value_of(name, from)
    is_whole = is_whole and value ~= nil
    return value or ""
  end)
  return is_whole and made or nil
end

local function filled_all(map, from)
  local all = {}
  for name, text in pairs(map) do
    all[name] = filled(text, from)
  end
  return all
end

-- A call, or the name of the value that it lacks.
local function call_of(part, from, req, left)
  local params = {}
  for _, name in ipairs(placeholders(part.url, {})) do
    local value = value_of(name, from)
    if value == nil or value == "." or value == ".." then return nil, name end
    params[name] = value
  end
  local call = { url = part.url, method = part.method, params = params, optional = part.optional }
  call.query = filled_all(part.query, from)
  call.headers = filled_all(part.headers, from)
  call.timeout = math.min(part.timeout or left, left)
  if part.body then
    call.body = req:bytes()
    local kind = req.headers["content-type"]
    if kind and not call.headers["content-type"] then call.headers["content-type"] = kind end
  end
  return call
end

local function kept(value, fields)
  if type(value) ~= "table" or fields == true then return value end
  if is_list(value) then
    local items = json.array()
    for _, item in ipairs(value) do
      table.insert(items, kept(item, fields))
    end
    return items
  end
  local object = {}
  for name, below in pairs(fields) do
    if value[name] ~= nil then object[name] = kept(value[name], below) end
  end
  return object
end

local function take_out(value, fields)
  if is_list(value) then
    for _, item in ipairs(value) do
      take_out(item, fields)
    end
  elseif type(value) == "table" then
    for name, below in pairs(fields) do
      if below == true then value[name] = nil elseif value[name] ~= nil then take_out(value[name], below) end
    end
  end
end

local function renamed(value, names)
  if is_list(value) then
    local items = json.array()
    for _, item in ipairs(value) do
      table.insert(items, renamed(item, names))
    end
    return items
  end
  if type(value) ~= "table" then return value end
  local object = {}
  for name, below in pairs(value) do
    if not names[name] then object[name] = below end
  end
  for old, new in pairs(names) do
    if value[old] ~= nil then object[new] = value[old] end
  end
  return object
end

-- What a part gives; nil when that is not in its answer.
local function shaped(part, shape, value)
  if shape.extract then value = at(value, shape.extract, 1) end
  if value == nil or value == json.null then return nil end
  if shape.allow then value = kept(value, shape.allow) end
  if shape.deny then take_out(value, shape.deny) end
  if next(part.rename) then value = renamed(value, part.rename) end
  return value
end

-- Puts a value beside what is there; the name of a field that both have, when that is an error.
local function merge(into, name, value, how)
  local there = into[name]
  if there == nil or how == "last" then
    into[name] = value
  elseif how == "error" then
    return name
  elseif how == "deep" then
    if is_object(there) and is_object(value) then
      for below, entry in pairs(value) do
        merge(there, below, entry, how)
      end
    else
      into[name] = value
    end
  end
  return nil
end

local function unavailable(name, why)
  return reply.error(502, "the part `" .. name .. "` of this answer " .. (why or "is not available"))
end

function M.handle(req, ctx)
  local config, state = ctx.config, ctx.state
  local begun = time.now_ms()
  local budget = config.timeout or (ctx.deadline_ms or 60000) / 1000 * 0.85
  local from = { params = req.params, query = req.query, headers = req.headers, identity = ctx.identity or {}, parts = {} }
  local values, is_complete = {}, true
  for _, turn in ipairs(state.turns) do
    local left = budget - (time.now_ms() - begun) / 1000
    local calls = {}
    for _, part in ipairs(turn) do
      local call, missing = nil, nil
      if left > 0 then call, missing = call_of(part, from, req, left) end
      if call then
        calls[part.name] = call
      elseif not part.optional then
        if left <= 0 then return reply.error(504, "the part `" .. part.name .. "` of this answer is not available") end
        if string.sub(missing, 1, 6) == "parts." then return unavailable(part.name) end
        return reply.error(400, "the request has no `" .. missing .. "` that can be used")
      else
        is_complete = false
      end
    end
    if next(calls) then
      local got = http.all(calls, { timeout = left })
      for _, part in ipairs(turn) do
        local answer = got[part.name]
        if answer then
          local is_json, value = false, nil
          if answer.ok then is_json, value = pcall(function() return answer:json() end) end
          if is_json then
            -- Read once more: what others are asked with is the answer as it came.
            if state.needed[part.name] then from.parts[part.name] = answer:json() end
            value = shaped(part, state.shapes[part.name], value)
          else
            value = nil
          end
          if value == nil then
            if not part.optional then return unavailable(part.name) end
            is_complete = false
          end
          values[part.name] = value
        end
      end
    end
  end

  local body = {}
  for _, part in ipairs(config.parts) do
    local value, clash = values[part.name], nil
    local fields = if part.group or not is_object(value) then { [part.group or part.name] = value } else value
    for name, entry in pairs(fields) do
      clash = merge(body, name, entry, config.merge) or clash
    end
    if clash then
      log.warn("two parts have the same field", { part = part.name, field = clash })
      return unavailable(part.name, "has a field that another part has")
    end
  end
  local headers = { ["x-gateway-completed"] = tostring(is_complete) }
  if not is_complete then headers["cache-control"] = "no-store" end
  return reply.json(200, body, headers)
end

return M
