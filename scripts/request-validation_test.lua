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

local DOCUMENT = {
  openapi = "3.0.3",
  info = { title = "users", version = "1" },
  servers = { { url = "https://api.example.com/v1" } },
  paths = {
    ["/users/{id}"] = {
      parameters = { { name = "id", ["in"] = "path", required = true, schema = { type = "integer" } } },
      get = { parameters = { { name = "fields", ["in"] = "query", explode = false, schema = { type = "array", items = { enum = { "id", "name" } } } } } },
      put = {
        requestBody = { required = true, content = { ["application/json"] = { schema = { ["$ref"] = "#/components/schemas/User" } } } },
      },
    },
  },
  components = {
    schemas = { User = { type = "object", required = { "name" }, properties = { name = { type = "string", nullable = true, minLength = 2 } } } },
  },
}

local function by_document(config)
  config.openapi = DOCUMENT
  return test.plugin("request-validation.lua", { config = config })
end

function M.test_a_whole_service_by_its_document()
  local gw = by_document({})
  test.equal(gw:request({ path = "/v1/users/7?fields=id,name" }).status, 200)
  test.equal(gw:request({ method = "PUT", path = "/v1/users/7", json = { name = json.null } }).status, 200)
  local res = gw:request({ method = "PUT", path = "/v1/users/x", json = { name = "A" } })
  test.equal(res.status, 422)
  local seen = {}
  for _, violation in ipairs(res.json.errors) do
    seen[violation["in"] .. " " .. violation.pointer] = violation.keyword
  end
  test.equal(seen, { ["path /id"] = "type", ["body /name"] = "minLength" })
  test.equal(gw:request({ path = "/v1/users/7?fields=id,secret" }).json.errors[1].pointer, "/fields/1")
  test.equal(gw:request({ method = "PUT", path = "/v1/users/7" }).status, 400)
  test.equal(gw:request({ method = "PUT", path = "/v1/users/7", body = "x" }).status, 415)
  test.equal(#gw.received, 2)
end

function M.test_what_the_document_does_not_have()
  local gw = by_document({})
  test.equal(gw:request({ path = "/users/7" }).status, 404)
  local res = gw:request({ method = "DELETE", path = "/v1/users/7" })
  test.equal(res.status, 405)
  test.equal(res.headers.allow, "GET, HEAD, PUT")
  test.equal(#gw.received, 0)
  local open = by_document({ unknown = "pass" })
  test.equal(open:request({ method = "DELETE", path = "/v1/users/7" }).status, 200)
  test.equal(open:request({ path = "/v1/users/x" }).status, 422)
  local moved = by_document({ base_path = "/api" })
  test.equal(moved:request({ path = "/api/users/7" }).status, 200)
  test.equal(moved:request({ path = "/v1/users/7" }).status, 404)
end

function M.test_documents_that_can_not_work_are_found_when_they_are_loaded()
  local function problems(document)
    return test.plugin("request-validation.lua", { config = { openapi = document } }):problems()
  end
  test.contains(problems({ swagger = "2.0" }), "Swagger 2.0 is not supported")
  test.contains(problems("nowhere.yaml"), "nowhere.yaml can't be read: there is no such file")
  local elsewhere = { openapi = "3.1.0", paths = { ["/x"] = { ["$ref"] = "http://127.0.0.1:1/x" } } }
  test.contains(problems(elsewhere), "`http://127.0.0.1:1/x` is not in the document")
end

return M
