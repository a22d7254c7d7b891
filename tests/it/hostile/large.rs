//! Native calls on very large values: a function of the host can't give way, so it takes only what it is done with soon.

use super::{Attack, Hook};

/// More than the host takes at once, and in Rhai less than the 8 MiB of its longest text: else building it would be stopped.
pub const LARGE: &[Attack] = &[
    Attack {
        name: "a large reply",
        hook: Hook::Handle,
        lua: "return reply.text(200, ('x'):rep(5e6))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::text(200, s)",
        says: [
            "reply.text: argument 2 (text): 5000000 bytes are more",
            "reply::text: argument 2 (text): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a digest of much",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.sha256(('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::text(200, crypto::sha256(s))",
        says: [
            "crypto.sha256: argument 1 (bytes): 5000000 bytes are more",
            "crypto::sha256: argument 1 (bytes): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a MAC of much",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.hmac_sha512('k', ('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::text(200, crypto::hmac_sha512(\"k\", s))",
        says: [
            "crypto.hmac_sha512: argument 2 (bytes): 5000000 bytes are more",
            "crypto::hmac_sha512: argument 2 (bytes): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "hexadecimal of much",
        hook: Hook::Handle,
        lua: "return reply.text(200, crypto.hex(('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::text(200, crypto::hex(s))",
        says: [
            "crypto.hex: argument 1 (bytes): 5000000 bytes are more",
            "crypto::hex: argument 1 (bytes): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "base64 of much",
        hook: Hook::Handle,
        lua: "return reply.text(200, base64.encode(('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::text(200, base64::encode(s))",
        says: [
            "base64.encode: argument 1 (bytes): 5000000 bytes are more",
            "base64::encode: argument 1 (bytes): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "much base64",
        hook: Hook::Handle,
        lua: "return reply.text(200, base64.decode(('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::bytes(200, base64::decode(s))",
        says: [
            "base64.decode: argument 1 (text): 5000000 bytes are more",
            "base64::decode: argument 1 (text): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "much JSON",
        hook: Hook::Handle,
        lua: "return reply.json(200, json.decode(('1,'):rep(2.5e6)))",
        rhai: "let s = \"\"; s.pad(5_000_000, \"1,\"); reply::json(200, json::decode(s))",
        says: [
            "json.decode: argument 1 (text): 5000000 bytes are more",
            "json::decode: argument 1 (text): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a large string as JSON",
        hook: Hook::Handle,
        lua: "return reply.json(200, ('\"'):rep(5e6))",
        rhai: "let s = \"x\"; s.pad(5_000_000, '\"'); reply::json(200, s)",
        says: [
            "reply.json: argument 2 (value): 5000000 bytes are more",
            "reply::json: argument 2 (value): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a large URL",
        hook: Hook::Handle,
        lua: "return reply.text(200, url.encode((' '):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, ' '); reply::text(200, url::encode(s))",
        says: [
            "url.encode: argument 1 (text): 5000000 bytes are more",
            "url::encode: argument 1 (text): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a large token",
        hook: Hook::Handle,
        lua: "return reply.json(200, jwt.verify(('x'):rep(5e6), { secret = 'k', algorithms = { 'HS256' } }))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::json(200, jwt::verify(s, #{ secret: \"k\", algorithms: [\"HS256\"] }))",
        says: [
            "jwt.verify: argument 1 (token): 5000000 bytes are more",
            "jwt::verify: argument 1 (token): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a large text to look through",
        hook: Hook::Handle,
        lua: "return reply.json(200, regex.test('(a|b)*c', ('x'):rep(5e6)))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); reply::json(200, regex::test(\"(a|b)*c\", s))",
        says: [
            "regex.test: argument 2 (text): 5000000 bytes are more",
            "regex::test: argument 2 (text): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "a large header",
        hook: Hook::Handle,
        lua: "req.headers['x-a'] = ('x'):rep(5e6)",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); req.headers[\"x-a\"] = s;",
        says: [r#"headers[\"x-a\"]: 5000000 bytes are more"#, r#"headers[\"x-a\"]: 5000000 bytes are more"#],
    },
    Attack {
        name: "a large body",
        hook: Hook::Request,
        lua: "req:set_body(('x'):rep(5e6))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); req.set_body(s);",
        says: [
            "request:set_body: argument 1 (bytes): 5000000 bytes are more",
            "set_body: argument 1 (bytes): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "much to keep",
        hook: Hook::Handle,
        lua: "kv.set('k', ('x'):rep(5e6))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); kv::set(\"k\", s);",
        says: [
            "kv.set: argument 2 (value): 5000000 bytes are more",
            "kv::set: argument 2 (value): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "much to log",
        hook: Hook::Handle,
        lua: "log.info(('x'):rep(5e6))",
        rhai: "let s = \"x\"; s.pad(5_000_000, 'x'); log::info(s);",
        says: [
            "log.info: argument 1 (message): 5000000 bytes are more",
            "log::info: argument 1 (message): 5000000 bytes are more",
        ],
    },
    Attack {
        name: "thousands of calls at once",
        hook: Hook::Handle,
        lua: "local t = {} for i = 1, 3000 do t['k' .. i] = { url = 'svc://up/' .. i } end http.all(t)",
        rhai: "let t = #{}; for i in 0..3000 { t[\"k\" + i] = #{ url: \"svc://up/\" + i }; } http::all(t)",
        says: ["http.all: 3000 calls are more than 100 at once", "http::all: 3000 calls are more than 100 at once"],
    },
];
