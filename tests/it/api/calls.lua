-- Calls of host functions, each with what must come of it; `?part=` says which. The answer lists those that went wrong.

local SECRET = "0123456789abcdef0123456789abcdef"

local function has(list, wanted)
  for _, item in list do
    if item == wanted then return true end
  end
  return false
end

local function each(object)
  local all = ""
  for name, value in pairs(object) do all ..= name .. "=" .. value .. " " end
  return all
end

local parts = {}

function parts.strings()
  return {
    { "redis.set", redis.set("k", "v", "EX", 60) == "OK" },
    { "redis.get", redis.get("k") == "v" },
    { "redis.exists", redis.exists("k", "none") == 1 },
    { "redis.expire", redis.expire("k", 100) == 1 },
    { "redis.ttl", redis.ttl("k") > 60 and redis.ttl("none") == -2 },
    { "redis.incr", redis.incr("n") == 1 },
    { "redis.incrby", redis.incrby("n", 5) == 6 },
    { "redis.decr", redis.decr("n") == 5 },
    { "redis.mset", redis.mset("a", 1, "b", 2) == "OK" },
    { "redis.mget", json.encode(redis.mget("a", "b", "none")) == '["1","2",false]' },
    { "redis.del", redis.del("a", "b", "n") == 3 },
    { "redis.command", redis.command("STRLEN", "k") == 1 },
    { "redis.script", redis.script("return ARGV[1] + #KEYS", { "k" }, { 2 }) == 3 },
    { "redis.publish", redis.publish("channel", "message") == 0 },
  }
end

function parts.hashes()
  return {
    { "redis.hset", redis.hset("h", "a", "1", "b", 2) == 2 },
    { "redis.hget", redis.hget("h", "a") == "1" },
    { "redis.hincrby", redis.hincrby("h", "b", 3) == 5 },
    { "redis.hdel", redis.hdel("h", "a") == 1 },
    { "redis.hgetall", redis.hgetall("h").b == "5" },
    { "redis.sadd", redis.sadd("s", "x", "y") == 2 },
    { "redis.srem", redis.srem("s", "x") == 1 },
    { "redis.sismember", redis.sismember("s", "y") == 1 },
    { "redis.smembers", json.encode(redis.smembers("s")) == '["y"]' },
    { "redis.del", redis.del("h", "s") == 2 },
  }
end

function parts.lists()
  return {
    { "redis.rpush", redis.rpush("l", "b", "c") == 2 },
    { "redis.lpush", redis.lpush("l", "a") == 3 },
    { "redis.lrange", json.encode(redis.lrange("l", 0, -1)) == '["a","b","c"]' },
    { "redis.lpop", redis.lpop("l") == "a" },
    { "redis.rpop", redis.rpop("l") == "c" },
    { "redis.ltrim", redis.ltrim("l", 0, 0) == "OK" },
    { "redis.llen", redis.llen("l") == 1 },
    { "redis.zadd", redis.zadd("z", 12.5, "ada", 1, "bob") == 2 },
    { "redis.zscore", redis.zscore("z", "ada") == "12.5" },
    { "redis.zincrby", redis.zincrby("z", 1, "bob") == "2" },
    { "redis.zrange", json.encode(redis.zrange("z", 0, -1)) == '["bob","ada"]' },
    { "redis.zrem", redis.zrem("z", "bob") == 1 },
    { "redis.zcard", redis.zcard("z") == 1 },
    { "redis.del", redis.del("l", "z") == 2 },
  }
end

function parts.calls()
  local all = { { "http.get", http.get("svc://s/a"):text() == "GET /a " } }
  for _, verb in { "post", "put", "patch" } do
    table.insert(all, { "http." .. verb, http[verb]("svc://s/a", { body = "x" }):text() == verb:upper() .. " /a x" })
  end
  table.insert(all, { "http.post", http.post("svc://s/a", { headers = { ["x-many"] = { "a", "b" } } }).ok })
  table.insert(all, { "http.put", http.put("svc://s/a").status == 200 })
  table.insert(all, { "http.patch", http.patch("svc://s/a").status == 200 })
  table.insert(all, { "http.delete", http.delete("svc://s/a"):text() == "DELETE /a " })
  local got = http.request({ method = "OPTIONS", url = "svc://s/a" })
  table.insert(all, { "http.request", got:text() == "OPTIONS /a " })
  table.insert(all, { "result_headers:names", has(got.headers:names(), "x-one") })
  return all
end

function parts.text()
  return {
    { "base64.url_encode", base64.url_encode("a?>") == "YT8-" },
    { "base64.url_decode", base64.url_decode("YT8-") == "a?>" },
    { "url.encode", url.encode("a/b c") == "a%2Fb%20c" },
    { "url.decode", url.decode("a%2Fb%20c+%zz") == "a/b c+%zz" },
    { "url.query", url.query({ page = 2, q = "a&b" }) == "page=2&q=a%26b" },
    { "url.parse", url.parse("https://Example.com:8443/a?b=c").port == 8443 and url.parse("/a") == nil },
    { "crypto.sha384", crypto.sha384("abc"):sub(1, 16) == "cb00753f45a35e8b" },
    { "crypto.sha512", crypto.sha512("abc"):sub(1, 16) == "ddaf35a193617aba" },
    { "crypto.hmac_sha384", crypto.hmac_sha384("key", "abc"):sub(1, 16) == "30ddb9c8f347cffb" },
    { "crypto.hmac_sha512", crypto.hmac_sha512("key", "abc"):sub(1, 16) == "3926a207c8c42b0c" },
    { "time.format", time.format(0) == "1970-01-01T00:00:00Z" },
    { "time.now_ms", time.now_ms() > 1.7e12 },
    { "regex.split", json.encode(regex.split(" *, *", "a, b ,c")) == '["a","b","c"]' },
    { "uuid.v7", #uuid.v7() == 36 and #uuid.v4() == 36 },
    { "json.decode", json.decode("[1, 2]")[2] == 2 },
    { "json.array", json.encode(json.array()) == "[]" },
    { "log.trace", log.trace("t") == nil },
    { "log.info", log.info("i", { n = 1 }) == nil },
    { "log.error", log.error("e") == nil },
  }
end

function parts.tokens(req)
  local token = jwt.sign({ sub = "7" }, { secret = SECRET, algorithm = "HS256" })
  local options = { secret = SECRET, algorithms = { "HS256" }, require_exp = false }
  req.headers["authorization"] = "bearer  " .. token
  local verifier = jwt.verifier(options)
  local got = verifier:bearer(req.headers)
  req.headers:add("authorization", "Bearer x")
  return {
    { "verifier:bearer", got.ok and got.identity.id == "7" and got.identity.claims.sub == "7" and got.claims.sub == "7" },
    { "verifier:bearer repeated", verifier:bearer(req.headers).error == "repeated" },
    { "verifier:verify", verifier:verify(token).claims.sub == "7" },
    { "jwt.jwks", jwt.jwks("svc://nobody/jwks.json", { max_age = "1m" }) == nil },
    { "jwt.decode", jwt.decode(token).claims.sub == "7" and jwt.decode("x") == nil },
    { "jwt.verify", jwt.verify(token, options).ok and jwt.verify("x", options).error == "malformed" },
    { "schema:validate", #schema.compile({ required = { "a" } }):validate({ b = 1 }) == 1 },
  }
end

function parts.objects(req)
  req:set_body("changed")
  return {
    { "request:set_body", req:text() == "changed" },
    { "headers:names", has(req.headers:names(), "x-mine") },
    { "headers:set", req.headers:set("x-set", 7) and not req.headers:set("x-set", "a\nb") and req.headers["x-set"] == "7" },
    { "headers:set nothing", req.headers:set("x-set") and req.headers["x-set"] == nil },
    { "pairs", each(req.params) == "id=7 " and each(req.query) == "part=objects " and each(req.cookies) == "a=1 " },
  }
end

local M = {}

function M.on_request(req, ctx)
  ctx.response_headers["x-coming"] = "1"
  local wrong = json.array()
  for _, case in parts[req.query.part](req) do
    if not case[2] then table.insert(wrong, case[1]) end
  end
  return reply.json(200, wrong, { ["set-cookie"] = { "a=1", "b=2" } })
end

function M.on_response(res)
  res:set_body((res.headers["x-coming"] == "1" and "wrong: " or "no x-coming: ") .. res:text())
end

return M
