-- Answers in XML become JSON: an element is its text, or, when it has attributes or elements in it, an object of `@attribute`,
-- `element` and `#text`. Elements of one name become a list. It reads UTF-8 without a DOCTYPE, which also keeps out entities
-- that blow up; what is not well-formed is the service's fault, 502.
--   curl -i http://lua.localhost:8080/
local M = {}

local NAME = "[\\pL_][\\w.:-]*"
local VALUE = [[(?:"[^"<]*"|'[^'<]*')]]
local BEGIN = "(?s)^(" .. NAME .. ")((?:\\s+" .. NAME .. "\\s*=\\s*" .. VALUE .. ")*)\\s*(/?)>(.*)$"
local ATTRIBUTE = NAME .. "\\s*=\\s*" .. VALUE
-- What comments, CDATA and instructions begin and end with, without the first `<`.
local ASIDES = { { "!--", "-->" }, { "![CDATA[", "]]>" }, { "?", "?>" } }
local KNOWN = { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'" }

local function refuse(why)
  error(reply.error(502, "the service's XML " .. why))
end

-- A character by its number, if XML 1.0 §2.2 has it.
local function character(digits, base)
  local code = #digits <= 8 and tonumber(digits, base) or 0
  local control = code < 32 and code ~= 9 and code ~= 10 and code ~= 13
  if control or (code >= 0xD800 and code < 0xE000) or code > 0x10FFFF then refuse("has a character that there is not") end
  return utf8.char(code)
end

local function plain(text)
  if not string.find(text, "&", 1, true) then return text end
  return (string.gsub(text, "&([^;&]*)(;?)", function(name, ends)
    local hex, decimal = string.match(name, "^#x(%x+)$"), string.match(name, "^#(%d+)$")
    if ends == ";" and KNOWN[name] then return KNOWN[name] end
    if ends == ";" and (hex or decimal) then return character(hex or decimal, hex and 16 or 10) end
    return refuse("has an entity that is not known")
  end))
end

-- The element that a piece begins, and the text after its tag.
local function begun(piece)
  local found = regex.captures(BEGIN, piece)
  if found == nil then refuse("is not well-formed") end
  local element = { name = found.groups[1], closed = found.groups[3] == "/", value = {}, simple = true, text = {} }
  for _, attribute in ipairs(regex.find_all(ATTRIBUTE, found.groups[2])) do
    local name, value = string.match(attribute, "^([^%s=]+)%s*=%s*(.*)$")
    if element.value["@" .. name] then refuse("says an attribute twice") end
    element.value["@" .. name] = plain(string.sub(value, 2, -2))
    element.simple = false
  end
  return element, found.groups[4]
end

local function ended(element)
  local text = string.match(table.concat(element.text), "^%s*(.-)%s*$")
  if element.simple then return text end
  if text ~= "" then element.value["#text"] = text end
  return element.value
end

local function add(parent, name, value, config)
  local there = parent.value[name]
  parent.simple = false
  if parent.lists == nil then parent.lists = {} end
  if parent.lists[name] then
    table.insert(there, value)
  elseif there ~= nil or table.find(config.lists, name) then
    parent.lists[name] = true
    parent.value[name] = json.array(there == nil and { value } or { there, value })
  else
    parent.value[name] = value
  end
end

-- What lies between `<` and `<`, with what comments, CDATA and instructions hold joined again: each `{ text, kind, rest }`.
local function pieces(document)
  local all, aside, parts = {}, nil, nil
  for text in string.gmatch(document .. "<", "([^<]*)<") do
    if aside then
      table.insert(parts, text)
    else
      parts = { text }
      for _, one in ipairs(ASIDES) do
        if #all > 0 and string.sub(text, 1, #one[1]) == one[1] then aside = one end
      end
    end
    if not aside then
      table.insert(all, { text = text })
    elseif string.find(#parts > 1 and text or string.sub(text, #aside[1] + 1), aside[2], 1, true) then
      local whole = string.sub(table.concat(parts, "<"), #aside[1] + 1)
      local from, to = string.find(whole, aside[2], 1, true)
      table.insert(all, { text = string.sub(whole, 1, from - 1), kind = aside[1], rest = string.sub(whole, to + 1) })
      aside = nil
    end
  end
  if aside then refuse("is not well-formed") end
  return all
end

local function convert(document, config)
  local coding = string.match(document, "^<%?xml[^>]-encoding%s*=%s*[\"']([%w._-]+)[\"']")
  if coding and not table.find({ "utf-8", "us-ascii" }, string.lower(coding)) then refuse("is not in UTF-8") end
  local root = { value = {}, text = {}, simple = true }
  local open = { root }
  for index, piece in ipairs(pieces(document)) do
    local inner, text = open[#open], piece.rest
    if index == 1 then
      text = piece.text
    elseif piece.kind then
      if piece.kind == "![CDATA[" then table.insert(inner.text, piece.text) end
    elseif string.sub(piece.text, 1, 1) == "!" then
      refuse("has a DOCTYPE")
    elseif string.sub(piece.text, 1, 1) == "/" then
      local name, after = string.match(piece.text, "^/([^%s>]+)%s*>(.*)$")
      if #open == 1 or name ~= inner.name then refuse("is not well-formed") end
      text = after
      table.remove(open)
      add(open[#open], name, ended(inner), config)
    else
      local element, after = begun(piece.text)
      if #open == 1 and next(root.value) then refuse("has two roots") end
      if #open > config.max_depth then refuse("is deeper than " .. config.max_depth) end
      text = after
      if element.closed then
        add(inner, element.name, ended(element), config)
      else
        table.insert(open, element)
      end
    end
    table.insert(open[#open].text, plain(text))
  end
  if #open > 1 or not next(root.value) or string.find(table.concat(root.text), "%S") then refuse("is not well-formed") end
  return root.value
end

function M.on_response(res, ctx)
  local kind = string.lower(res.headers["content-type"] or "")
  if not regex.test("^(?:text|application)/(?:[^;]*\\+)?xml *(?:;|$)", kind) then return end
  local document = res:text()
  -- The answer to a HEAD has no body.
  if document == "" then return end
  if #document > ctx.config.max_bytes then refuse("is longer than " .. ctx.config.max_bytes .. " bytes") end
  res:set_json(convert(document, ctx.config))
end

return M
