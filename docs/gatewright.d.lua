---@meta gatewright

-- Printed from the gateway's own list; do not edit.

---@class http.get.options
---@field headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> request headers; a list for several of a name
---@field query? table<string, string|number|boolean|nil> parameters added to the URL, percent-encoded
---@field params? table<string, string|number|boolean|nil> values for `{name}` in the path, percent-encoded
---@field json? any a JSON body
---@field body? string a body
---@field timeout? string|number at most this long; never past the exchange's deadline

---@class http.request.request
---@field url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@field method? string `GET` when it is left out
---@field headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> request headers; a list for several of a name
---@field query? table<string, string|number|boolean|nil> parameters added to the URL, percent-encoded
---@field params? table<string, string|number|boolean|nil> values for `{name}` in the path, percent-encoded
---@field json? any a JSON body
---@field body? string a body
---@field timeout? string|number at most this long; never past the exchange's deadline

---@class http.all.calls
---@field url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@field method? string `GET` when it is left out
---@field optional? boolean whether the rest goes on without it
---@field headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> request headers; a list for several of a name
---@field query? table<string, string|number|boolean|nil> parameters added to the URL, percent-encoded
---@field params? table<string, string|number|boolean|nil> values for `{name}` in the path, percent-encoded
---@field json? any a JSON body
---@field body? string a body
---@field timeout? string|number at most this long; never past the exchange's deadline

---@class http.all.options
---@field timeout? string|number for all of them together
---@field fail? boolean false: never end the hook, give all results

---@class jwt.verifier.options
---@field secret? string the secret of HS256, HS384 and HS512
---@field secret_base64? string the same in base64
---@field public_key? any the PEM of an RSA, EC or Ed25519 key, or a list of them
---@field jwks? string instead of keys, the URL of the issuer's JWK set (RFC 7517): `svc://NAME/path`, or one of a permitted host
---@field max_age? string|number of fetched keys; 10 minutes when it is left out. Older ones are used while newer ones are fetched
---@field max_stale? string|number the age at which they are used no more, when no newer ones can be fetched; 24 hours when it is left out
---@field algorithms string[] the only ones that are accepted, such as `HS256`
---@field issuer? any `iss` must be this, or one of a list
---@field audience? any `aud` must be or contain this, or one of a list
---@field leeway? string|number how far clocks may differ, for `exp` and `nbf`; 0 when it is left out
---@field require_exp? boolean whether a token without `exp` is refused; true when it is left out

---@class jwt.verify.result
---@field claims? any what the token says, when it is good
---@field error? string `missing`, `malformed`, `unsupported`, `algorithm`, `signature`, `expired`, `not_yet_valid`, `issuer`, `audience`, `missing_claim`, `unknown_key` (the issuer has no key of this `kid`) or `keys` (the issuer's can't be had: nothing is said of the token)
---@field message? string the same in one line for the log
---@field ok boolean whether the token is good

---@class jwt.decode.result
---@field claims any what the token says
---@field header any what it says of itself

---@class jwt.sign.options
---@field secret? string the secret of HS256, HS384 and HS512
---@field secret_base64? string the same in base64
---@field private_key? string the PEM of an RSA, EC or Ed25519 key
---@field algorithm string such as `HS256`
---@field header? any more header parameters, such as `kid`

---@class jwt.jwks.options
---@field max_age? string|number of fetched keys; 10 minutes when it is left out. Older ones are used while newer ones are fetched
---@field max_stale? string|number the age at which they are used no more, when no newer ones can be fetched; 24 hours when it is left out

---@class limit.sliding_window.rule
---@field limit integer at most so many in a window
---@field window string|number how long the window is
---@field cost? integer how much this one counts, 1 when it is left out; 0 only looks
---@field on_store_error? string when Redis gives no answer: `local` (the default) counts in this process, `allow` lets pass, `deny` refuses with an `error`

---@class limit.sliding_window.result
---@field allowed boolean whether it passed
---@field error? string `store` when the store gave no answer and `deny` was asked for: answer 503, not 429
---@field limit integer the most that can pass at once
---@field remaining integer what could still pass now
---@field reset integer seconds until more remains, rounded up
---@field retry_after integer seconds to wait after a refusal, rounded up; 0 when it passed
---@field store string who counted: `redis`, `local`, or `none`

---@class limit.token_bucket.rule
---@field rate number tokens that flow in each second
---@field burst integer tokens that the bucket holds: at most so many at once
---@field cost? integer how much this one counts, 1 when it is left out; 0 only looks
---@field on_store_error? string when Redis gives no answer: `local` (the default) counts in this process, `allow` lets pass, `deny` refuses with an `error`

---@class kv.set.options
---@field ttl? string|number how long it is kept; until it is pushed out when it is left out

---@class url.parse.result
---@field scheme string in lower case
---@field host string in lower case; an IPv6 address in brackets
---@field port? integer the scheme's own when the URL has none
---@field path string percent-encoded, at least `/`
---@field query? string without the question mark

---@class regex.captures.result
---@field text string what the whole pattern matched
---@field groups string[] what each group matched; empty for one that took no part
---@field named table<string, string> what the groups with names matched, without those that took no part

---@class metrics.describe.options
---@field help? string what it counts, for people
---@field buckets? number[] upper bounds of a histogram, ascending; at most 30

---@class test.plugin.options
---@field config? any the configuration of the script or plugin
---@field on_error? string `continue` passes over a script that fails
---@field before? any[] plugins that run first, written as in `gateway.yaml`
---@field route? any more entries of the route, such as `paths`
---@field service? any more entries of the service `backend`, such as `timeout`
---@field gateway? any more entries of the whole configuration, such as `limits`

---@class verifier.bearer.result
---@field ok boolean whether the request has a good token
---@field claims? any what the token says, when it is good
---@field identity? any what `ctx.identity` is set to: `id` is the claim `sub`, `email` that claim, `claims` all of them
---@field error? string `missing`, `repeated`, or as `verify` says it
---@field detail? string the same for the client
---@field challenge? string what `WWW-Authenticate` says of a refusal (RFC 6750 §3); nothing with the error `keys`

---@class schema.validate.result
---@field keyword string the schema's keyword that is not met; `json` for what is not JSON, `duplicate` for a key that stands twice
---@field message string one line for people, without the value itself
---@field pointer string where it is, as a JSON pointer (RFC 6901); empty for the whole document

---@class api.validate.options
---@field most? integer how many violations are listed; 20 when it is left out
---@field max_body? integer the largest body that is looked at, in bytes; 1 MiB when it is left out
---@field base_path? string the path that the service is under, in place of those of the document's `servers`

---@class api.validate.result.errors
---@field keyword string the schema's keyword that is not met; `required` for a parameter that is missing
---@field message string one line for people, without the value itself
---@field pointer string where it is: in the body a JSON pointer; of a parameter its name comes first
---@field place string `path`, `query`, `header`, `cookie` or `body`

---@class api.validate.result
---@field status integer 200 when all is well; 404 and 405 for an unknown path and method, 400, 413 and 415 for a body that can't be looked at, 422 for violations
---@field detail string one line about it; empty when all is well
---@field errors api.validate.result.errors[] the violations
---@field allow? string with 405, the methods that there are

---@class gateway.request.request
---@field method? string GET when it is left out
---@field path? string with its query; `/` when it is left out
---@field headers? table<string, string|number|boolean|nil> request headers
---@field body? string the body
---@field json? any the body as a value; sets Content-Type
---@field client? string the address of the client; 127.0.0.1 when it is left out

---@class gateway.answer.answer
---@field status? integer 200 when it is left out
---@field headers? table<string, string|number|boolean|nil> response headers
---@field body? string the body
---@field json? any the body as a value; sets Content-Type
---@field delay? string|number the real time that passes before
---@field fail? boolean true closes the connection instead of an answer

---The table of hooks that a script returns: `---@type script` above `local M = {}`.
---@class script
---Once, when a configuration is loaded, for each place that uses the script. An error here refuses the configuration. Returns: Any value; seen later as `ctx.state`.
---@field on_load? fun(config: any): any
---Before the backend. Returns: Nothing to go on, or a reply that is answered instead.
---@field on_request? fun(req: request, ctx: context): reply?
---Instead of a backend. Returns: The reply.
---@field handle? fun(req: request, ctx: context): reply
---For each piece of the request's body on its way to the backend, and once more with nothing at its end. The body is not held: text comes as it arrives, never cut within a character. Returns: Nothing to leave it, or the string that takes its place; an empty one drops it.
---@field on_request_chunk? fun(chunk: any, ctx: context): string?
---When the head of the response is here: from a backend, a reply or an error. Returns: Nothing, or a reply that replaces it.
---@field on_response? fun(res: response, ctx: context): reply?
---The same for the response's body on its way to the client: events, lines, tokens. Returns: Nothing to leave it, or the string that takes its place; an empty one drops it.
---@field on_response_chunk? fun(chunk: any, ctx: context): string?
---When the gateway itself failed. Returns: Nothing, or a reply.
---@field on_error? fun(err: failure, ctx: context): reply?
---After the last byte. Returns: Nothing.
---@field on_log? fun(ctx: context)

---Runs a function again and again in the background, from `on_load` only; at most 16 for each use of a plugin. It runs on one worker of the process, within the limits of a hook and a minute at most, first after a part of the interval and at most 10 s. It never overlaps with itself: what would be late is left out. A reload ends it, also while it waits, and begins the new one's. All modules work in it; hand over what it finds by `kv`, since variables belong to one worker.
---```lua
---every("30s", function() kv.set("rates", http.get("svc://rates/latest"):json()) end)
---```
---@param interval string|number `100ms` at least
---@param run fun() called without arguments
function every(interval, run) end

---Calls to services (`svc://NAME/…`, through the gateway's own targets and pools) and to hosts that the manifest permits. Each waits for its result; a failing network never throws.
http = {}

---Sends a GET and waits for the result.
---```lua
---local got = http.get("svc://users/users/{id}", { params = { id = "7" } })
---```
---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.get(url, options) end

---Sends a POST and waits for the result.
---```lua
---local made = http.post("svc://orders/orders", { json = { total = 5 } })
---```
---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.post(url, options) end

---Sends a PUT and waits for the result.
---```lua
---http.put("svc://users/users/7", { json = { name = "Ada" } })
---```
---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.put(url, options) end

---Sends a PATCH and waits for the result.
---```lua
---http.patch("svc://users/users/7", { json = { name = "Ada" } })
---```
---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.patch(url, options) end

---Sends a DELETE and waits for the result.
---```lua
---http.delete("svc://users/users/7")
---```
---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.delete(url, options) end

---Sends any request and waits for the result.
---```lua
---local got = http.request({ method = "HEAD", url = "svc://users/users" })
---```
---@param request http.request.request the whole call, its URL and method too
---@return result
function http.request(request) end

---Runs calls side by side under one deadline and gives the results by name. When a required one has no answer below 400 the others are cancelled and the hook ends with a 502 (504 when it was the deadline), unless `fail = false`.
---```lua
---local got = http.all({ user = { url = "svc://users/users/7" }, orders = { url = "svc://orders/orders", optional = true } }, { timeout = "2s" })
---```
---@param calls table<string, http.all.calls> calls by name
---@param options? http.all.options for all of them
---@return table<string, result>
function http.all(calls, options) end

---Makes responses. Return one from a hook, or throw it from any depth.
reply = {}

---A reply with a JSON document. Keys of tables and maps that a script made come in alphabetical order.
---```lua
---return reply.json(200, { ok = true })
---```
---@param status integer 200 to 599
---@param value any the document
---@param headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name
---@return reply
function reply.json(status, value, headers) end

---A reply with plain text.
---```lua
---return reply.text(200, "hello")
---```
---@param status integer 200 to 599
---@param text string the body
---@param headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name
---@return reply
function reply.text(status, text, headers) end

---A reply with bytes; give their content type among the headers.
---```lua
---return reply.bytes(200, png, { ["content-type"] = "image/png" })
---```
---@param status integer 200 to 599
---@param bytes string the body
---@param headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name
---@return reply
function reply.bytes(status, bytes, headers) end

---A reply without a body.
---```lua
---return reply.empty(204)
---```
---@param status integer 200 to 599
---@param headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name
---@return reply
function reply.empty(status, headers) end

---A redirect.
---```lua
---return reply.redirect("https://example.com/", 308)
---```
---@param url string where to go
---@param status? integer 301, 302 (the default), 303, 307 or 308
---@return reply
function reply.redirect(url, status) end

---A problem (RFC 9457, `application/problem+json`) with the request id.
---```lua
---return reply.error(403, "not yours")
---```
---@param status integer 200 to 599
---@param detail string one line for the client
---@param headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> more headers, a list for several of a name such as `set-cookie`; they replace the reply's own of that name
---@param members? any more members of the problem, such as `errors`; none of the gateway's own is replaced
---@return reply
function reply.error(status, detail, headers, members) end

---JSON Web Tokens (RFC 7519). Verification accepts the configured algorithms and keys alone, whatever a token says.
jwt = {}

---Prepares the keys once: make it in `on_load` and keep it in the state. It remembers tokens that it has verified. Keys that can't be used are an error. With `jwks` it waits where keys must be fetched first: when there are none, or a token has an unknown `kid`, for which a worker fetches at most every 30 s.
---```lua
---local verifier = jwt.verifier({ secret = config.secret, algorithms = { "HS256" } })
---```
---@param options jwt.verifier.options keys and what a token must fulfil
---@return verifier
function jwt.verifier(options) end

---Verifies a token with options that are given each time; the worker keeps the verifier they make.
---```lua
---local got = jwt.verify(token, { secret = ctx.config.secret, algorithms = { "HS256" } })
---```
---@param token? string in the compact form, without `Bearer`
---@param options? jwt.verifier.options as those of `jwt.verifier`; required
---@return jwt.verify.result
function jwt.verify(token, options) end

---A token's header and claims, NOT verified: to look at, never to decide by. Nothing when it is not a token.
---```lua
---local issuer = jwt.decode(token).claims.iss
---```
---@param token? string in the compact form, without `Bearer`
---@return jwt.decode.result?
function jwt.decode(token) end

---Makes a token.
---```lua
---local token = jwt.sign({ sub = "7" }, { secret = ctx.config.secret, algorithm = "HS256" })
---```
---@param claims any what the token says; nothing is added, no `exp` either
---@param options jwt.sign.options the key and the algorithm
---@return string
function jwt.sign(claims, options) end

---The keys that an issuer publishes, as verifiers use them: a list of JWKs (RFC 7517) without those that don't verify signatures. Waits where they must be fetched first; nothing when they can't be had.
---```lua
---local keys = jwt.jwks("svc://issuer/jwks.json", { max_age = "10m" })
---```
---@param url string of a JWK set, as the option `jwks` of `jwt.verifier`
---@param options? jwt.jwks.options how old it may be
---@return any?
function jwt.jwks(url, options) end

---Rate limits: counted in Redis, for all gateways together, when it is configured, else in this process. Checks that are refused don't count; what Redis refused is not asked of it again until it could pass, for a second at most.
limit = {}

---Counts, and says whether no more than `limit` passed in the last `window`: exactly up to a limit of 1000, from two counters above.
---```lua
---local seen = limit.sliding_window(ctx.client.ip, { limit = 100, window = "60s" })
---```
---@param key string who is counted, within the plugin's own namespace
---@param rule limit.sliding_window.rule the limit
---@return limit.sliding_window.result
function limit.sliding_window(key, rule) end

---Takes tokens from a bucket that holds `burst` and fills with `rate` a second, and says whether there were enough.
---```lua
---local seen = limit.token_bucket(ctx.client.ip, { rate = 5, burst = 20 })
---```
---@param key string who is counted, within the plugin's own namespace
---@param rule limit.token_bucket.rule the limit
---@return limit.sliding_window.result
function limit.token_bucket(key, rule) end

---Values that live as long as the gateway: shared by all workers, a namespace for each plugin, bounded (what was not used for longest goes first), kept across reloads, gone with the process.
kv = {}

---What was set: a copy; nothing when there is none.
---```lua
---local session = kv.get("session:7")
---```
---@param key string within the plugin's own namespace
---@return any
function kv.get(key) end

---Keeps a value, in place of an older one and its time to live. Strings are UTF-8: encode bytes with `base64`.
---```lua
---kv.set("session:7", { user = 7 }, { ttl = "10m" })
---```
---@param key string within the plugin's own namespace
---@param value any anything JSON can say; nothing deletes
---@param options? kv.set.options of the entry
function kv.set(key, value, options) end

---Adds to a whole number and gives the sum, in one step; a new one counts from 0.
---```lua
---local failures = kv.incr("failures:" .. ctx.client.ip, 1, { ttl = "1m" })
---```
---@param key string within the plugin's own namespace
---@param by? integer 1 when it is left out; may be negative
---@param options? kv.set.options of a new entry: a later call does not prolong it
---@return integer
function kv.incr(key, by, options) end

---Forgets a value; whether there was one.
---```lua
---kv.delete("session:7")
---```
---@param key string within the plugin's own namespace
---@return boolean
function kv.delete(key) end

---Commands of Redis, when `redis:` is configured; each waits for its reply. An error when Redis is not there or refuses, and without `redis:`: the embedded store serves `kv` and `limit`, which work in either case, and does not pretend to be a Redis, whose commands and scripts each process would answer differently. More words than are named may follow: `redis.set(key, value, "EX", 60)`.
redis = {}

---The string of a key, or nothing.
---```lua
---local text = redis.get("greeting")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.get(key, ...) end

---Sets a string; `"EX", seconds`, `"NX"` and other words may follow.
---```lua
---redis.set("greeting", "hello", "EX", 60)
---```
---@param key string the key
---@param value string|number|boolean|nil the value; more words of the command may follow
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.set(key, value, ...) end

---Deletes keys and says how many there were.
---```lua
---redis.del("greeting")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.del(key, ...) end

---How many of the keys there are.
---```lua
---local there = redis.exists("greeting") == 1
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.exists(key, ...) end

---Gives a key a time to live; 1 when it is there.
---```lua
---redis.expire("greeting", 60)
---```
---@param key string the key
---@param seconds integer how long it lives from now
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.expire(key, seconds, ...) end

---Seconds that a key has to live; -1: for ever, -2: there is none.
---```lua
---local left = redis.ttl("greeting")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.ttl(key, ...) end

---Adds 1 and gives the sum.
---```lua
---local visits = redis.incr("visits")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.incr(key, ...) end

---Adds and gives the sum.
---```lua
---local visits = redis.incrby("visits", 5)
---```
---@param key string the key
---@param by integer what is added
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.incrby(key, by, ...) end

---Takes 1 away and gives what is left.
---```lua
---local left = redis.decr("stock")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.decr(key, ...) end

---The strings of several keys; false for one that is not there.
---```lua
---local both = redis.mget("a", "b")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return (string|number|boolean|nil)[]
function redis.mget(key, ...) end

---Sets several keys: in turn a key and a value.
---```lua
---redis.mset("a", 1, "b", 2)
---```
---@param key string the key
---@param value string|number|boolean|nil the value; more words of the command may follow
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.mset(key, value, ...) end

---A field of a hash, or nothing.
---```lua
---local name = redis.hget("user:7", "name")
---```
---@param key string the key
---@param field string|number|boolean|nil the field of the hash
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.hget(key, field, ...) end

---Sets fields of a hash and says how many are new.
---```lua
---redis.hset("user:7", "name", "Ada")
---```
---@param key string the key
---@param field string|number|boolean|nil the field of the hash
---@param value string|number|boolean|nil the value; more words of the command may follow
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.hset(key, field, value, ...) end

---Deletes fields of a hash and says how many there were.
---```lua
---redis.hdel("user:7", "name")
---```
---@param key string the key
---@param field string|number|boolean|nil the field of the hash
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.hdel(key, field, ...) end

---Adds to a field of a hash and gives the sum.
---```lua
---local logins = redis.hincrby("user:7", "logins", 1)
---```
---@param key string the key
---@param field string|number|boolean|nil the field of the hash
---@param by integer what is added
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.hincrby(key, field, by, ...) end

---All fields of a hash as a map; an empty one when there is none.
---```lua
---local name = redis.hgetall("user:7").name
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return table<string, string|number|boolean|nil>
function redis.hgetall(key, ...) end

---Adds members to a set and says how many are new.
---```lua
---redis.sadd("online", "7")
---```
---@param key string the key
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.sadd(key, member, ...) end

---Removes members of a set and says how many there were.
---```lua
---redis.srem("online", "7")
---```
---@param key string the key
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.srem(key, member, ...) end

---1 when the set has the member, else 0.
---```lua
---local online = redis.sismember("online", "7") == 1
---```
---@param key string the key
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.sismember(key, member, ...) end

---All members of a set.
---```lua
---local online = redis.smembers("online")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return (string|number|boolean|nil)[]
function redis.smembers(key, ...) end

---Puts values at the head of a list and gives its length.
---```lua
---redis.lpush("recent", req.path)
---```
---@param key string the key
---@param value string|number|boolean|nil the value; more words of the command may follow
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.lpush(key, value, ...) end

---Puts values at the end of a list and gives its length.
---```lua
---redis.rpush("queue", "job")
---```
---@param key string the key
---@param value string|number|boolean|nil the value; more words of the command may follow
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.rpush(key, value, ...) end

---Takes a value from the head of a list; nothing when it is empty. A list when a count follows.
---```lua
---local job = redis.lpop("queue")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return any
function redis.lpop(key, ...) end

---Takes a value from the end of a list; nothing when it is empty. A list when a count follows.
---```lua
---local job = redis.rpop("queue")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return any
function redis.rpop(key, ...) end

---A part of a list.
---```lua
---local recent = redis.lrange("recent", 0, 9)
---```
---@param key string the key
---@param start integer the first place, from 0
---@param stop integer the last place; -1 is the end
---@param ... string|number|boolean|nil
---@return (string|number|boolean|nil)[]
function redis.lrange(key, start, stop, ...) end

---Keeps only a part of a list.
---```lua
---redis.ltrim("recent", 0, 99)
---```
---@param key string the key
---@param start integer the first place, from 0
---@param stop integer the last place; -1 is the end
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.ltrim(key, start, stop, ...) end

---The length of a list.
---```lua
---local waiting = redis.llen("queue")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.llen(key, ...) end

---Adds members to a sorted set and says how many are new.
---```lua
---redis.zadd("scores", 12.5, "ada")
---```
---@param key string the key
---@param score string|number|boolean|nil its score, or an option of the command
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.zadd(key, score, member, ...) end

---Removes members of a sorted set and says how many there were.
---```lua
---redis.zrem("scores", "ada")
---```
---@param key string the key
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.zrem(key, member, ...) end

---A member's score as text, or nothing.
---```lua
---local score = redis.zscore("scores", "ada")
---```
---@param key string the key
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.zscore(key, member, ...) end

---Adds to a member's score and gives it as text.
---```lua
---redis.zincrby("scores", 1, "ada")
---```
---@param key string the key
---@param by number what is added
---@param member string|number|boolean|nil the member
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.zincrby(key, by, member, ...) end

---How many members a sorted set has.
---```lua
---local count = redis.zcard("scores")
---```
---@param key string the key
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.zcard(key, ...) end

---A part of a sorted set; `"REV"`, `"BYSCORE"`, `"WITHSCORES"` may follow.
---```lua
---local best = redis.zrange("scores", 0, 9, "REV")
---```
---@param key string the key
---@param start string|number|boolean|nil the first place or score
---@param stop string|number|boolean|nil the last
---@param ... string|number|boolean|nil
---@return (string|number|boolean|nil)[]
function redis.zrange(key, start, stop, ...) end

---Publishes a message and says how many got it.
---```lua
---redis.publish("signups", "7")
---```
---@param channel string the channel, for granted prefixes a key
---@param message string|number|boolean|nil the message
---@param ... string|number|boolean|nil
---@return string|number|boolean|nil
function redis.publish(channel, message, ...) end

---Any command that neither blocks nor changes the connection. Gives nil, a number, string, list or map; a nil within a list is false, as in Redis' own scripts.
---```lua
---local length = redis.command("STRLEN", "greeting")
---```
---@param name string of the command, in either case
---@param ... string|number|boolean|nil
---@return any
function redis.command(name, ...) end

---Runs a script within Redis, in one step and by its digest. It gives what a command gives. A plugin with granted prefixes needs `permissions.redis_scripts` too: they are checked for `keys` alone.
---```lua
---local sum = redis.script("return redis.call('INCRBY', KEYS[1], ARGV[1])", { "visits" }, { 2 })
---```
---@param source string a script in Redis' Lua
---@param keys? string[] its KEYS
---@param args? (string|number|boolean|nil)[] its ARGV
---@return any
function redis.script(source, keys, args) end

---Reads and writes JSON.
json = {}

---JSON's null. In Lua a value of its own, since nil can't stand in a table; in Rhai `()` is null and the name is a reserved word.
json.null = {}

---A value as JSON text. Keys of tables and maps that a script made come in alphabetical order.
---```lua
---local text = json.encode({ id = 7 })
---```
---@param value any anything JSON can say
---@return string
function json.encode(value) end

---The value that JSON text says. Integers of 64 bits, empty arrays, null and the order of keys are kept. An error when it is not JSON.
---```lua
---local value = json.decode('{"id": 7}')
---```
---@param text string a JSON document
---@return any
function json.decode(text) end

---A list that is an array in JSON even when it is empty: in Lua an empty table is an object otherwise.
---```lua
---local body = { items = json.array() }
---```
---@param list? any a list; empty when it is left out
---@return any
function json.array(list) end

---Base64 (RFC 4648).
base64 = {}

---Encodes with the standard alphabet and padding.
---```lua
---local text = base64.encode("user:secret")
---```
---@param bytes string what to encode
---@return string
function base64.encode(bytes) end

---The bytes that the text stands for; nothing when it is not base64.
---```lua
---local pair = base64.decode("dXNlcjpzZWNyZXQ=")
---```
---@param text string what to decode, padded or not
---@return string?
function base64.decode(text) end

---Encodes with the alphabet for URLs, without padding, as tokens do.
---```lua
---local text = base64.url_encode(crypto.random(16))
---```
---@param bytes string what to encode
---@return string
function base64.url_encode(bytes) end

---The bytes that text in the alphabet for URLs stands for; nothing when it is not that.
---```lua
---local bytes = base64.url_decode("-_8")
---```
---@param text string what to decode, padded or not
---@return string?
function base64.url_decode(text) end

---Takes URLs apart and encodes what goes into them.
url = {}

---Percent-encodes everything but letters, digits and `-._~` (RFC 3986 §2.3).
---```lua
---local segment = url.encode("a/b c")
---```
---@param text string one component: a segment, a name or a value
---@return string
function url.encode(text) end

---Undoes percent-encoding; malformed triplets stay as they are, and so does `+`.
---```lua
---local text = url.decode("a%2Fb%20c")
---```
---@param text string a percent-encoded component
---@return string
function url.decode(text) end

---A query string, encoded, in the order of the names and without the question mark; nothing leaves its name out.
---```lua
---local query = url.query({ page = 2, q = "tea & milk" })
---```
---@param params table<string, string|number|boolean|nil> values by name
---@return string
function url.query(params) end

---The parts of an absolute URL with a host, normalised as browsers do; nothing when it is not one.
---```lua
---local host = url.parse("https://example.com:8443/a?b=c").host
---```
---@param url string an absolute URL
---@return url.parse.result?
function url.parse(url) end

---Hashes, MACs, comparison in constant time, random bytes and stored passwords. Hashes and MACs come as lower-case hexadecimal; `crypto.bytes` gives their bytes.
crypto = {}

---SHA-256 (FIPS 180-4).
---```lua
---local etag = crypto.sha256(res:bytes())
---```
---@param bytes string what to hash
---@return string
function crypto.sha256(bytes) end

---SHA-384 (FIPS 180-4).
---```lua
---local hash = crypto.sha384("text")
---```
---@param bytes string what to hash
---@return string
function crypto.sha384(bytes) end

---SHA-512 (FIPS 180-4).
---```lua
---local hash = crypto.sha512("text")
---```
---@param bytes string what to hash
---@return string
function crypto.sha512(bytes) end

---HMAC (RFC 2104) with SHA-256.
---```lua
---local mac = crypto.hmac_sha256(ctx.config.secret, req:bytes())
---```
---@param key string the secret
---@param bytes string what to hash
---@return string
function crypto.hmac_sha256(key, bytes) end

---HMAC (RFC 2104) with SHA-384.
---```lua
---local mac = crypto.hmac_sha384(ctx.config.secret, req:bytes())
---```
---@param key string the secret
---@param bytes string what to hash
---@return string
function crypto.hmac_sha384(key, bytes) end

---HMAC (RFC 2104) with SHA-512.
---```lua
---local mac = crypto.hmac_sha512(ctx.config.secret, req:bytes())
---```
---@param key string the secret
---@param bytes string what to hash
---@return string
function crypto.hmac_sha512(key, bytes) end

---Whether two secrets are equal, in a time that tells nothing but their lengths.
---```lua
---if not crypto.equal(mac, req.headers["x-signature"] or "") then return reply.error(401, "forged") end
---```
---@param a string one secret
---@param b string the other
---@return boolean
function crypto.equal(a, b) end

---Random bytes that are fit for keys.
---```lua
---local nonce = base64.url_encode(crypto.random(16))
---```
---@param count integer how many bytes, at most 65536
---@return string
function crypto.random(count) end

---Bytes as lower-case hexadecimal.
---```lua
---local id = crypto.hex(crypto.random(8))
---```
---@param bytes string what to hash
---@return string
function crypto.hex(bytes) end

---The bytes that hexadecimal stands for, such as those of a hash; nothing when it is not that.
---```lua
---local raw = crypto.bytes(crypto.sha256("text"))
---```
---@param hex string hexadecimal in either case
---@return string?
function crypto.bytes(hex) end

---Whether a password is the stored one, `$pbkdf2-sha256$i=ITERATIONS$SALT$HASH`. It waits, since that takes a tenth of a second on a thread of its own; few run at once, and too many that wait end the hook with a 503. What came of it is remembered: a right password for five minutes, a wrong one for 30 seconds.
---```lua
---local is_right = crypto.verify_password("lovelace", "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$zGExIpL/wtgPPt44HU1nPNkhG8JDEce15l8WZ+Y4rXw")
---```
---@param password string what a client sent
---@param stored string what `hash_password` gave
---@return boolean
function crypto.verify_password(password, stored) end

---A password as it may be stored: PBKDF2-HMAC-SHA-256 (RFC 8018) with a random salt, as a PHC string. It waits, as `verify_password` does.
---```lua
---local stored = crypto.hash_password("lovelace", 1000)
---```
---@param password string the password
---@param iterations? integer 600000 when it is left out, as OWASP's Password Storage Cheat Sheet says
---@return string
function crypto.hash_password(password, iterations) end

---Addresses and networks, IPv4 and IPv6.
ip = {}

---Prepares a list of networks once: make it in `on_load` and keep it in the state. An entry that is no address or network is an error.
---```lua
---local office = ip.list({ "192.0.2.0/24", "2001:db8::/32" })
---```
---@param networks string[] addresses and networks, such as `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`
---@return ip_list
function ip.list(networks) end

---JSON Schema 2020-12: whether documents and parameters are as they should be. Formats are held to; `$ref` stays inside of the schema.
schema = {}

---Makes an OpenAPI document (3.0 or 3.1) ready to validate requests: in `on_load`, and kept in the state. A file is read by the gateway when the configuration is loaded, with all that it refers to below its folder.
---```lua
---local api = schema.openapi({ openapi = "3.1.0", paths = { ["/users/{id}"] = { get = {} } } })
---```
---@param document any what the configuration says in a field of the type `openapi`, or the document as a value
---@return api
function schema.openapi(document) end

---Prepares a schema once: make it in `on_load` and keep it in the state. A wrong schema is an error, as is one that refers to a file or an address.
---```lua
---local person = schema.compile({ type = "object", required = { "name" } })
---```
---@param schema any the schema, or its JSON text
---@return schema
function schema.compile(schema) end

---The time of day in seconds since 1970 (UTC), dates as text, and waiting.
time = {}

---The time in seconds, with a fraction.
---```lua
---local started = time.now()
---```
---@return number
function time.now() end

---The time in whole milliseconds.
---```lua
---local started = time.now_ms()
---```
---@return integer
function time.now_ms() end

---A time as text, in UTC.
---```lua
---res.headers["expires"] = time.format(time.now() + 60, "http")
---```
---@param seconds number since 1970
---@param format? string `http` for the form of HTTP headers, or a pattern as strftime's; RFC 3339 when it is left out
---@return string
function time.format(seconds, format) end

---The seconds since 1970 that a date stands for; nothing when it is not one.
---```lua
---local created = time.parse("2026-11-24T06:00:00Z")
---```
---@param text string RFC 3339, or a date as in HTTP headers
---@return number?
function time.parse(text) end

---Waits. Other exchanges go on meanwhile.
---```lua
---time.sleep("100ms")
---```
---@param duration string|number how long; never past the exchange's deadline
function time.sleep(duration) end

---Regular expressions in linear time: Perl's syntax without look-around and back-references. They find a match anywhere in the text unless anchored with `^` and `$`.
regex = {}

---Whether the pattern matches somewhere in the text.
---```lua
---local is_id = regex.test("^[0-9]+$", req.params.id)
---```
---@param pattern string a regular expression; `(?i)` in front ignores case
---@param text string where to look
---@return boolean
function regex.test(pattern, text) end

---The first match and its groups; nothing when there is none.
---```lua
---local found = regex.captures("v(?<major>[0-9]+)", req.path)
---```
---@param pattern string a regular expression; `(?i)` in front ignores case
---@param text string where to look
---@return regex.captures.result?
function regex.captures(pattern, text) end

---All matches that don't overlap, from left to right.
---```lua
---local numbers = regex.find_all("[0-9]+", "1, 22, 333")
---```
---@param pattern string a regular expression; `(?i)` in front ignores case
---@param text string where to look
---@return string[]
function regex.find_all(pattern, text) end

---The pieces between the matches.
---```lua
---local parts = regex.split(" *, *", "a, b ,c")
---```
---@param pattern string a regular expression; `(?i)` in front ignores case
---@param text string where to look
---@return string[]
function regex.split(pattern, text) end

---The text with every match replaced.
---```lua
---local masked = regex.replace("[0-9]{12}([0-9]{4})", text, "…$1")
---```
---@param pattern string a regular expression; `(?i)` in front ignores case
---@param text string where to look
---@param replacement string `$1` and `${name}` stand for groups, `$$` for a dollar
---@return string
function regex.replace(pattern, text, replacement) end

---Writes to the gateway's log, with the plugin, the hook and the request id. In `on_load` one worker speaks for all.
log = {}

---Details that are seen only when the log is set to `script=trace`.
---```lua
---log.trace("looked up", { key = "user:7" })
---```
---@param message string one line for people
---@param fields? any a table or map of more to know, kept as JSON
function log.trace(message, fields) end

---Something worth knowing.
---```lua
---log.info("signed in", { user = 7 })
---```
---@param message string one line for people
---@param fields? any a table or map of more to know, kept as JSON
function log.info(message, fields) end

---Something that should be looked at.
---```lua
---log.warn("slow answer", { seconds = 2.5 })
---```
---@param message string one line for people
---@param fields? any a table or map of more to know, kept as JSON
function log.warn(message, fields) end

---Something that failed. It only writes the line: it does not end the hook.
---```lua
---log.error("no answer from the ledger")
---```
---@param message string one line for people
---@param fields? any a table or map of more to know, kept as JSON
function log.error(message, fields) end

---A script's own metrics, at `/metrics` with the label `plugin`. They are of the whole process, go on over reloads, and leave with their plugin. A plugin may have 1000 series in all; what comes above counts with `other` for every label, and the log says so once.
metrics = {}

---Adds to a counter; its name on the page ends in `_total`. In `on_load` one worker counts for all.
---```lua
---metrics.counter("orders", { country = "de" })
---```
---@param name string letters, digits and `_`; the page puts `gatewright_plugin_` before it
---@param labels? table<string, string|number|boolean|nil> at most 8; `plugin` is set by the gateway. Values must be few: never an id
---@param by? number 1 when it is left out; never negative
function metrics.counter(name, labels, by) end

---Sets a gauge.
---```lua
---metrics.gauge("queue_length", 12)
---```
---@param name string letters, digits and `_`; the page puts `gatewright_plugin_` before it
---@param value number what it is now
---@param labels? table<string, string|number|boolean|nil> at most 8; `plugin` is set by the gateway. Values must be few: never an id
function metrics.gauge(name, value, labels) end

---Counts a value in a histogram: with the buckets that `describe` gave it, or those for seconds, from 0.0005 to 10. In `on_load` one worker counts for all.
---```lua
---metrics.histogram("ledger_seconds", 0.012, { part = "read" })
---```
---@param name string letters, digits and `_`; the page puts `gatewright_plugin_` before it
---@param value number what was observed
---@param labels? table<string, string|number|boolean|nil> at most 8; `plugin` is set by the gateway. Values must be few: never an id
function metrics.histogram(name, value, labels) end

---Says what a metric is; best in `on_load`. What it counts may be changed by a reload, which begins it anew.
---```lua
---metrics.describe("order_items", "histogram", { help = "Items of an order.", buckets = { 1, 5, 25 } })
---```
---@param name string letters, digits and `_`; the page puts `gatewright_plugin_` before it
---@param kind string `counter`, `gauge` or `histogram`
---@param options? metrics.describe.options more about it
function metrics.describe(name, kind, options) end

---Environment variables of the gateway that the plugin's manifest names under `permissions.env`.
env = {}

---The variable's value, or nothing when it is not set. A name that is not permitted is an error.
---```lua
---local region = env.get("REGION")
---```
---@param name string the variable's name
---@return string?
function env.get(name) end

---Makes identifiers (RFC 9562).
uuid = {}

---A random one.
---```lua
---local id = uuid.v4()
---```
---@return string
function uuid.v4() end

---One that begins with the time, so that later ones sort after earlier ones.
---```lua
---local id = uuid.v7()
---```
---@return string
function uuid.v7() end

---Tests of scripts: in files `*_test.lua` and `*_test.rhai`, which `gatewright test` runs. Functions named `test_…` are the cases; in Lua the file returns a table of them. A case runs with a clock of its own that stands still, and is stopped after 2 seconds of processor time, or 10 of any.
test = {}

---A gateway with this script or plugin on its one route, before the service `backend`.
---```lua
---local gw = test.plugin("rate-limit.lua", { config = { limit = 1 } })
---```
---@param name string a file beside the test file, or a plugin by its name
---@param options? test.plugin.options how it is used
---@return gateway
function test.plugin(name, options) end

---Fails unless both are the same as JSON; numbers by value, entries of maps in any order.
---```lua
---test.equal(res.status, 401)
---```
---@param actual any what came
---@param expected any what must have come
---@param note? string said when it fails
function test.equal(actual, expected, note) end

---Fails when both are the same.
---```lua
---test.differs(first.body, second.body)
---```
---@param actual any what came
---@param expected any what must have come
---@param note? string said when it fails
function test.differs(actual, expected, note) end

---Fails unless a text contains the other, or a list the item.
---```lua
---test.contains(res.body, "too many")
---```
---@param actual any what came
---@param expected any what must have come
---@param note? string said when it fails
function test.contains(actual, expected, note) end

---Fails when the value is false or nothing.
---```lua
---test.ok(seen.remaining < 10)
---```
---@param actual any what came
---@param note? string said when it fails
function test.ok(actual, note) end

---Fails in any case.
---```lua
---test.fail("this must not be reached")
---```
---@param why string what went wrong
function test.fail(why) end

---Sets the time of day that `time` and `jwt` see; it is 2026-01-01T00:00:00Z before.
---```lua
---test.now(1767225600000)
---```
---@param milliseconds integer since 1970
function test.now(milliseconds) end

---Moves the clock on: the time of day, windows of `limit`, and times to live of `kv`. What scripts gave to `every` runs on the way, the first time after one interval.
---```lua
---test.advance("61s")
---```
---@param duration string|number how far
function test.advance(duration) end

---The request. What hooks change here is what the backend gets.
---@class request
---@field method string `GET`, `POST`, …; can be set.
---@field path string The path, normalised and percent-encoded; what is set here is what is forwarded.
---@field query query The query string's parameters.
---@field params params Path parameters: `{id}` of `/users/{id}`, or the named groups of a regex path.
---@field host string The host that the client asked for, with its port if it named one.
---@field scheme string `http` or `https`, as the client sees it.
---@field headers headers The request's headers.
---@field cookies cookies The request's cookies, read only.
---@field body string The body, when it was read already; setting it is `set_body`.
---@field upstream string? Set it to another service's name to send the request there.
do
local request = {}

---The body as a JSON value, nothing when it is empty; waits for it. Integers of 64 bits, empty arrays, null and the order of keys are kept. A request body that is not JSON ends the hook with 400; a response body that is not is an error.
---```lua
---local user = req:json()
---```
---@return any
function request:json() end

---The body as a string, its content encoding taken off; waits for it.
---```lua
---local text = res:text()
---```
---@return string
function request:text() end

---The body's bytes, its content encoding taken off: a string in Lua, a blob in Rhai; waits for it.
---```lua
---local size = #req:bytes()
---```
---@return string
function request:bytes() end

---Replaces the body by a JSON document and sets its content type; length, encoding, ETag and digests are mended.
---```lua
---res:set_json({ id = 7 })
---```
---@param value any what the body shall say
function request:set_json(value) end

---Replaces the body; length, encoding, ETag and digests are mended, the content type stays.
---```lua
---res:set_body("hello")
---```
---@param bytes string the new body
function request:set_body(bytes) end
end

---The response. What hooks change here is what the client gets.
---@class response
---@field status integer The status code, 200 to 599; can be set.
---@field headers headers The response's headers.
---@field from string `upstream`, `reply` (a script made it) or `error` (the gateway made it).
---@field latency_ms number Milliseconds from the request's arrival to the response's head.
---@field body string The body, when it was read already; setting it is `set_body`.
do
local response = {}

---The body as a JSON value, nothing when it is empty; waits for it. Integers of 64 bits, empty arrays, null and the order of keys are kept. A request body that is not JSON ends the hook with 400; a response body that is not is an error.
---```lua
---local user = req:json()
---```
---@return any
function response:json() end

---The body as a string, its content encoding taken off; waits for it.
---```lua
---local text = res:text()
---```
---@return string
function response:text() end

---The body's bytes, its content encoding taken off: a string in Lua, a blob in Rhai; waits for it.
---```lua
---local size = #req:bytes()
---```
---@return string
function response:bytes() end

---Replaces the body by a JSON document and sets its content type; length, encoding, ETag and digests are mended.
---```lua
---res:set_json({ id = 7 })
---```
---@param value any what the body shall say
function response:set_json(value) end

---Replaces the body; length, encoding, ETag and digests are mended, the content type stays.
---```lua
---res:set_body("hello")
---```
---@param bytes string the new body
function response:set_body(bytes) end
end

---The headers of a request or response. Names are case-insensitive. Reading gives the first value or nothing; assigning replaces all values; assigning nothing removes. In a request both also remove other spellings of the name, such as `x_user_id` for `x-user-id`.
---@class headers
---@field [string] string?
do
local headers = {}

---All values of a header, in the order they came.
---```lua
---local tokens = req.headers:all("x-token")
---```
---@param name string the header's name
---@return string[]
function headers:all(name) end

---Adds a value beside those that are there.
---```lua
---res.headers:add("vary", "origin")
---```
---@param name string the header's name
---@param value string|number|boolean|nil one more value
function headers:add(name, value) end

---As assigning, but whether it could be done is told: a value with a control character can't stand in a header, and then nothing is changed.
---```lua
---if not req.headers:set("x-user-id", claims.sub) then return reply.error(401, "no name") end
---```
---@param name string the header's name
---@param value? string|number|boolean|nil its only value; nothing removes it
---@return boolean
function headers:set(name, value) end

---The names that are there, each once, in no particular order.
---```lua
---for _, name in req.headers:names() do log.info(name, { value = req.headers[name] }) end
---```
---@return string[]
function headers:names() end

---Whether the header is there.
---```lua
---if req.headers:has("authorization") then return end
---```
---@param name string the header's name
---@return boolean
function headers:has(name) end
end

---The query string's parameters. Reading gives the first value or nothing; assigning replaces all values; assigning nothing removes.
---@class query
---@field raw string The query string as it is, without the question mark.
---@field [string] string?
do
local query = {}

---All values of a parameter, in their order.
---```lua
---local tags = req.query:all("tag")
---```
---@param name string the parameter's name
---@return string[]
function query:all(name) end

---Adds a value beside those that are there.
---```lua
---req.query:add("tag", "new")
---```
---@param name string the parameter's name
---@param value string|number|boolean|nil one more value
function query:add(name, value) end

---Whether the parameter is there.
---```lua
---local debug_wanted = req.query:has("debug")
---```
---@param name string the parameter's name
---@return boolean
function query:has(name) end
end

---Path parameters by name, percent-decoded; read only.
---@class params
---@field [string] string?

---The request's cookies by name; read only.
---@class cookies
---@field [string] string?

---The exchange: its id, route and client, and what its hooks share.
---@class context
---@field id string The request id, as in `x-request-id` and the logs.
---@field trace_id string The trace that the exchange belongs to, as in `traceparent` and the logs: 32 hexadecimal digits.
---@field route string The route's name.
---@field plugin string The name of the plugin that runs, or the script's path.
---@field place string Where the plugin is used: `global/NAME`, `service:users/NAME` or `route:users/NAME`; the same on every gateway with this configuration.
---@field config any The configuration of this place, defaults filled in.
---@field state any What `on_load` returned for this place.
---@field identity any Who the request is from, as an auth plugin found it: `id`, and what else it knows. Set by auth plugins.
---@field vars vars Values shared by all hooks of this exchange, in both languages.
---@field response_headers headers Headers that the response will have, whoever answers: set before it is here, they replace what it says itself. Hooks of `on_response` see them in it.
---@field client client Who sent the request: `ip`, `port`, `tls`, `subject`.
---@field deadline_ms number? Milliseconds left until the exchange's deadline: the service's `timeout`, or less when the client said so by `X-Request-Timeout` or `grpc-timeout`. Nothing where the service has `timeout: off`.

---Who sent the request.
---@class client
---@field ip string The client's address, found behind trusted proxies.
---@field port integer The port of the connection.
---@field tls boolean Whether the connection is encrypted.
---@field subject string? The subject of the client's certificate (RFC 4514), such as `CN=till-1,O=Shop`; nothing without one.

---Values that the hooks of one exchange share: anything that JSON can say. A value that is read is a copy.
---@class vars
---@field [string] any

---What the gateway failed with.
---@class failure
---@field kind string A word: `no_target`, `connect`, `timeout`, `reset`, `bad_response`, `breaker`, `script`, …
---@field status integer The status that the client gets if no hook replies.
---@field message string One line for people.

---What came of a call.
---@class result
---@field ok boolean Whether there was an answer below 400.
---@field status integer The answer's status; 0 when there was none.
---@field headers result_headers The answer's headers, read only.
---@field error string? Why there was no answer: `timeout`, `connect`, `protocol`, `too_large`, `no_service`, `forbidden` (the manifest does not name the host), `administration` (the gateway's own, which no permission opens), `bad_url`; nothing when there was one.
do
local result = {}

---The answer's body as a JSON value; an error when it is not JSON.
---```lua
---local user = got:json()
---```
---@return any
function result:json() end

---The answer's body as a string; empty when there was no answer.
---```lua
---local text = got:text()
---```
---@return string
function result:text() end

---The answer's body as bytes.
---```lua
---local size = #got:bytes()
---```
---@return string
function result:bytes() end
end

---The headers of a call's answer; read only.
---@class result_headers
---@field [string] string?
do
local result_headers = {}

---The names that are there, each once, in no particular order.
---```lua
---for _, name in req.headers:names() do log.info(name, { value = req.headers[name] }) end
---```
---@return string[]
function result_headers:names() end
end

---A response made by a script.
---@class reply
---@field status integer Its status.

---Keys and rules, ready to verify tokens with. Made by `jwt.verifier`.
---@class verifier
do
local verifier = {}

---The bearer token of a request (RFC 6750 §2.1), verified: of the one `Authorization` that it must have, with the scheme `Bearer`. In Lua `claims` and `identity` are read only.
---```lua
---local got = ctx.state.verifier:bearer(req.headers)
---```
---@param headers headers those of the request
---@return verifier.bearer.result
function verifier:bearer(headers) end

---Whether a token is good at this moment, and what it says. No token at all is the error `missing`. In Lua the claims are read only: a token that is seen again has the same.
---```lua
---local got = ctx.state.verifier:verify(token)
---```
---@param token? string in the compact form, without `Bearer`
---@return jwt.verify.result
function verifier:verify(token) end
end

---A list of networks. Made by `ip.list`.
---@class ip_list
do
local ip_list = {}

---Whether the address is in one of the networks. An IPv4 address that is written in IPv6 (`::ffff:192.0.2.7`) counts as IPv4. What is no address is an error.
---```lua
---if ctx.state.office:has(ctx.client.ip) then return end
---```
---@param address string such as `ctx.client.ip`
---@return boolean
function ip_list:has(address) end
end

---A schema that is ready to be held against documents. Made by `schema.compile`.
---@class schema
do
local schema = {}

---What is wrong with a value, in no more than so many violations; an empty list when nothing is. Of a document above 64 KiB only the first is told.
---```lua
---local violations = ctx.state.person:validate({ name = "Ada" })
---```
---@param value any the document
---@param most? integer how many are listed; 20 when it is left out
---@return schema.validate.result[]
function schema:validate(value, most) end

---The same for a JSON text as it is. What is not JSON is a violation, and so is a key that stands twice, since the backend might read the other one.
---```lua
---local violations = ctx.state.person:validate_json(req:bytes())
---```
---@param text string JSON text, such as a body's bytes
---@param most? integer how many are listed; 20 when it is left out
---@return schema.validate.result[]
function schema:validate_json(text, most) end

---The same for parameters, which are texts: those whose property is a number, a boolean or null in the schema count as that if they read so, those whose property is an array become one.
---```lua
---local violations = ctx.state.page:validate_texts({ page = req.query:all("page") })
---```
---@param values any by name, a text or a list of texts; as query and headers have them
---@param most? integer how many are listed; 20 when it is left out
---@return schema.validate.result[]
function schema:validate_texts(values, most) end
end

---An OpenAPI document that requests are held against. Made by `schema.openapi`.
---@class api
do
local api = {}

---Finds the request's operation and all that is wrong with its parameters and its body, which is read when the operation has one.
---```lua
---local found = ctx.state.api:validate(req, { most = 5 })
---```
---@param request request the request
---@param options? api.validate.options bounds
---@return api.validate.result
function api:validate(request, options) end
end

---A gateway under test, made by `test.plugin`. It is whole: what it does between request and response is what one that serves does.
---@class gateway
---@field received any What upstreams received, first to last: `method`, `url` (`svc://backend/x?y`), `path`, `headers`, `body`, and `json` when it is.
---@field logs any The lines of the log, first to last: `level`, `message`, `fields`, `error` of a script that failed.
do
local gateway = {}

---Sends a request and waits until its `on_log` is over. Gives `status`, `headers`, `body`, and `json` when it is.
---```lua
---local res = gw:request({ path = "/users", headers = { ["x-api-key"] = "abc" } })
---```
---@param request? gateway.request.request `GET /` when it is left out
---@return any
function gateway:request(request) end

---Says what an upstream answers; what was said last counts. The service `backend` answers 200 with `{}` when nothing is said.
---```lua
---gw:answer("GET", "svc://users/users/7", { json = { name = "Ada" } })
---```
---@param method string or `*`
---@param url string `svc://NAME/path` or `https://…`; `*` at its end stands for any rest
---@param answer gateway.answer.answer what comes back
function gateway:answer(method, url, answer) end

---Says what a command of Redis gives; what was said last counts, and a command of which nothing was said is an error.
---```lua
---gw:redis("GET greeting", "hello")
---```
---@param command string its first words: `GET greeting`; `SCRIPT` for scripts
---@param reply any what it gives
function gateway:redis(command, reply) end

---What scripts counted with `metrics` in this case, all series with these labels together: a number, or `count` and `sum` of a histogram; nothing when there is none.
---```lua
---test.equal(gw:metric("orders", { country = "de" }), 2)
---```
---@param name string as the script wrote it
---@param labels? table<string, string|number|boolean|nil> only series with these labels
---@return any?
function gateway:metric(name, labels) end

---What a check finds wrong with the configuration or in `on_load`, as text; empty when nothing is.
---```lua
---test.contains(gw:problems(), "exclude each other")
---```
---@return string
function gateway:problems() end
end

---A value of the gateway that is only passed back to its functions.
---@class value
