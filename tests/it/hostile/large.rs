//! Native calls on very large values: a function of the host can't give way, so it takes only what it is done with soon.

use super::{Attack, Hook};

/// No text of Rhai is as long as what the host refuses, so building it is what is stopped.
const TOO_LONG: &str = "stopped: length of string is too large";

pub const LARGE: &[Attack] = &[
    Attack {
        name: "a reply of 30 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, ('x'):rep(3e7))",
        rhai: "let s = \"x\"; s.pad(30_000_000, 'x'); reply::text(200, s)",
        says: ["reply.text: argument 2 (text): 30000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a digest of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.sha256(('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::text(200, crypto::sha256(s))",
        says: ["crypto.sha256: argument 1 (bytes): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a MAC of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.hmac_sha512('k', ('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::text(200, crypto::hmac_sha512(\"k\", s))",
        says: ["crypto.hmac_sha512: argument 2 (bytes): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "hexadecimal of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.hex(('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::text(200, crypto::hex(s))",
        says: ["crypto.hex: argument 1 (bytes): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "base64 of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, base64.encode(('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::text(200, base64::encode(s))",
        says: ["base64.encode: argument 1 (bytes): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "20 MB of base64",
        hook: Hook::Handle,
        lua: "return reply.text(200, base64.decode(('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::bytes(200, base64::decode(s))",
        says: ["base64.decode: argument 1 (text): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "20 MB of JSON",
        hook: Hook::Handle,
        lua: "return reply.json(200, json.decode(('1,'):rep(1e7)))",
        rhai: "let s = \"\"; s.pad(20_000_000, \"1,\"); reply::json(200, json::decode(\"[\" + s + \"1]\"))",
        says: ["json.decode: argument 1 (text): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a string of 20 MB as JSON",
        hook: Hook::Handle,
        lua: "return reply.json(200, ('\"'):rep(2e7))",
        rhai: "let s = \"x\"; s.pad(20_000_000, '\"'); reply::json(200, s)",
        says: ["reply.json: argument 2 (value): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a URL of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.text(200, url.encode((' '):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, ' '); reply::text(200, url::encode(s))",
        says: ["url.encode: argument 1 (text): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a token of 20 MB",
        hook: Hook::Handle,
        lua: "return reply.json(200, jwt.verify(('x'):rep(2e7), { secret = 'k', algorithms = { 'HS256' } }))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::json(200, jwt::verify(s, #{ secret: \"k\", algorithms: [\"HS256\"] }))",
        says: ["jwt.verify: argument 1 (token): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a text of 20 MB to look through",
        hook: Hook::Handle,
        lua: "return reply.json(200, regex.test('(a|b)*c', ('x'):rep(2e7)))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); reply::json(200, regex::test(\"(a|b)*c\", s))",
        says: ["regex.test: argument 2 (text): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "a header of 20 MB",
        hook: Hook::Handle,
        lua: "req.headers['x-a'] = ('x'):rep(2e7)",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); req.headers[\"x-a\"] = s;",
        says: [r#"headers[\"x-a\"]: 20000000 bytes are more than the host takes at once"#, TOO_LONG],
    },
    Attack {
        name: "a body of 20 MB",
        hook: Hook::Request,
        lua: "req:set_body(('x'):rep(2e7))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); req.set_body(s);",
        says: ["request:set_body: argument 1 (bytes): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "20 MB to keep",
        hook: Hook::Handle,
        lua: "kv.set('k', ('x'):rep(2e7))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); kv::set(\"k\", s);",
        says: ["kv.set: argument 2 (value): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "20 MB to log",
        hook: Hook::Handle,
        lua: "log.info(('x'):rep(2e7))",
        rhai: "let s = \"x\"; s.pad(20_000_000, 'x'); log::info(s);",
        says: ["log.info: argument 1 (message): 20000000 bytes are more than the host takes at once", TOO_LONG],
    },
    Attack {
        name: "thousands of calls at once",
        hook: Hook::Handle,
        lua: "local t = {} for i = 1, 3000 do t['k' .. i] = { url = 'svc://up/' .. i } end http.all(t)",
        rhai: "let t = #{}; for i in 0..3000 { t[\"k\" + i] = #{ url: \"svc://up/\" + i }; } http::all(t)",
        says: ["http.all: 3000 calls are more than 100 at once", "http::all: 3000 calls are more than 100 at once"],
    },
];
