local M = {}

local function gateway()
  local body = {
    type = "object",
    required = { "name" },
    properties = { name = { type = "string", minLength = 2 }, tags = { type = "array", items = { type = "string" } } },
  }
  local query = { properties = { page = { type = "integer", minimum = 1 } } }
  local config = { body = body, query = query, headers = { required = { "x-tenant" } }, max_body = 64 }
  return test.plugin("request-validation.lua", { config = config })
end

local HEADERS = { ["x-tenant"] = "a", ["content-type"] = "application/json" }

function M.test_what_fits_passes_unchanged()
  local gw = gateway()
  local body = '{ "name": "Ada", "n": 9007199254740993 }'
  test.equal(gw:request({ method = "POST", path = "/x?page=2", headers = HEADERS, body = body }).status, 200)
  test.equal(gw.received[1].body, body)
  test.equal(gw:request({ headers = { ["x-tenant"] = "a" } }).status, 200)
end

function M.test_lists_all_that_is_wrong()
  local gw = gateway()
  local res = gw:request({ method = "POST", path = "/x?page=0", json = { name = "A", tags = { "x", 7 } } })
  test.equal(res.status, 422)
  local seen = {}
  for _, violation in ipairs(res.json.errors) do
    seen[violation["in"] .. " " .. violation.pointer] = violation.keyword
  end
  local expected = { ["query /page"] = "minimum", ["header "] = "required", ["body /name"] = "minLength" }
  expected["body /tags/1"] = "type"
  test.equal(seen, expected)
  test.equal(#res.json.errors, 4)
  test.equal(#gw.received, 0)
end

function M.test_refuses_bodies_that_are_no_json()
  local gw = gateway()
  local function status(body)
    return gw:request({ method = "POST", headers = HEADERS, body = body }).status
  end
  test.equal(status("{broken"), 400)
  test.equal(status('{"name":"Ada","name":"Bob"}'), 400)
  test.equal(status(""), 400)
  local text = { ["x-tenant"] = "a", ["content-type"] = "text/plain" }
  test.equal(gw:request({ method = "POST", headers = text, body = '{"name":"Ada"}' }).status, 415)
  test.equal(#gw.received, 0)
end

function M.test_refuses_a_body_that_is_too_large()
  local gw = gateway()
  local res = gw:request({ method = "POST", headers = HEADERS, body = '{"name":"' .. string.rep("x", 54) .. '"}' })
  test.equal(res.status, 413)
  test.contains(res.body, "the request body is larger than 64 bytes")
  local fits = gw:request({ method = "POST", headers = HEADERS, body = '{"name":"' .. string.rep("x", 53) .. '"}' })
  test.equal(fits.status, 200)
end

function M.test_schemas_that_can_not_work_are_found_when_they_are_loaded()
  local function problems(config)
    return test.plugin("request-validation.lua", { config = config }):problems()
  end
  test.contains(problems({ body = { type = "strin" } }), "`body`: schema.compile: the schema")
  local elsewhere = { ["$ref"] = "http://127.0.0.1:1/x" }
  test.contains(problems({ query = elsewhere }), "`query`: schema.compile: the schema")
  local upper = { properties = { ["X-Tenant"] = { type = "string" } } }
  test.contains(problems({ headers = upper }), "write `X-Tenant` in lower case")
end

return M
