//! `crypto`: hashes, MACs, comparison in constant time, random bytes, passwords. Texts are UTF-8's bytes, results lower-case
//! hexadecimal.
//!
//! Purposefully without ciphers and keys: signing and verifying tokens is `jwt`'s.

use super::password;
use crate::{
    crypto::digest::{self, Hash, hex},
    script::{
        Raise, Value,
        list::{Function, Module, Param, Type},
        value::Args,
    },
};
use bytes::Bytes;

const BYTES: Param = Param::required("bytes", Type::Bytes, "what to hash");
const KEY: Param = Param::required("key", Type::Bytes, "the secret");

macro_rules! hash {
    ($name:literal, $hash:expr, $doc:literal, $lua:literal, $rhai:literal) => {
        Function {
            name: $name,
            params: &[BYTES],
            variadic: false,
            returns: Type::String,
            doc: $doc,
            lua: $lua,
            rhai: $rhai,
            run: |_, args| args.bytes(0).map(|bytes| hex(&$hash.digest(&bytes))).into(),
        }
    };
}

macro_rules! mac {
    ($name:literal, $hash:expr, $doc:literal, $lua:literal, $rhai:literal) => {
        Function {
            name: $name,
            params: &[KEY, BYTES],
            variadic: false,
            returns: Type::String,
            doc: $doc,
            lua: $lua,
            rhai: $rhai,
            run: |_, args| mac($hash, &args).into(),
        }
    };
}

pub static MODULE: Module = Module {
    name: "crypto",
    doc: "Hashes, MACs, comparison in constant time, random bytes and stored passwords. Hashes and MACs come as lower-case hexadecimal; `crypto.bytes` gives their bytes.",
    constants: &[],
    functions: &[
        hash!(
            "sha256",
            Hash::Sha256,
            "SHA-256 (FIPS 180-4).",
            r#"local etag = crypto.sha256(res:bytes())"#,
            r#"let etag = crypto::sha256(res.bytes());"#
        ),
        hash!(
            "sha384",
            Hash::Sha384,
            "SHA-384 (FIPS 180-4).",
            r#"local hash = crypto.sha384("text")"#,
            r#"let hash = crypto::sha384("text");"#
        ),
        hash!(
            "sha512",
            Hash::Sha512,
            "SHA-512 (FIPS 180-4).",
            r#"local hash = crypto.sha512("text")"#,
            r#"let hash = crypto::sha512("text");"#
        ),
        mac!(
            "hmac_sha256",
            Hash::Sha256,
            "HMAC (RFC 2104) with SHA-256.",
            r#"local mac = crypto.hmac_sha256(ctx.config.secret, req:bytes())"#,
            r#"let mac = crypto::hmac_sha256(ctx.config.secret, req.bytes());"#
        ),
        mac!(
            "hmac_sha384",
            Hash::Sha384,
            "HMAC (RFC 2104) with SHA-384.",
            r#"local mac = crypto.hmac_sha384(ctx.config.secret, req:bytes())"#,
            r#"let mac = crypto::hmac_sha384(ctx.config.secret, req.bytes());"#
        ),
        mac!(
            "hmac_sha512",
            Hash::Sha512,
            "HMAC (RFC 2104) with SHA-512.",
            r#"local mac = crypto.hmac_sha512(ctx.config.secret, req:bytes())"#,
            r#"let mac = crypto::hmac_sha512(ctx.config.secret, req.bytes());"#
        ),
        Function {
            name: "equal",
            params: &[Param::required("a", Type::Bytes, "one secret"), Param::required("b", Type::Bytes, "the other")],
            variadic: false,
            returns: Type::Bool,
            doc: "Whether two secrets are equal, in a time that tells nothing but their lengths.",
            lua: r#"if not crypto.equal(mac, req.headers["x-signature"] or "") then return reply.error(401, "forged") end"#,
            rhai: r#"if !crypto::equal(mac, req.headers["x-signature"] ?? "") { return reply::error(401, "forged"); }"#,
            run: |_, args| equal(&args).into(),
        },
        Function {
            name: "random",
            params: &[Param::required("count", Type::Int, "how many bytes, at most 65536")],
            variadic: false,
            returns: Type::Bytes,
            doc: "Random bytes that are fit for keys.",
            lua: r#"local nonce = base64.url_encode(crypto.random(16))"#,
            rhai: r#"let nonce = base64::url_encode(crypto::random(16));"#,
            run: |_, args| random(&args).into(),
        },
        Function {
            name: "hex",
            params: &[BYTES],
            variadic: false,
            returns: Type::String,
            doc: "Bytes as lower-case hexadecimal.",
            lua: r#"local id = crypto.hex(crypto.random(8))"#,
            rhai: r#"let id = crypto::hex(crypto::random(8));"#,
            run: |_, args| args.bytes(0).map(|bytes| hex(&bytes)).into(),
        },
        Function {
            name: "bytes",
            params: &[Param::required("hex", Type::String, "hexadecimal in either case")],
            variadic: false,
            returns: Type::Maybe(&Type::Bytes),
            doc: "The bytes that hexadecimal stands for, such as those of a hash; nothing when it is not that.",
            lua: r#"local raw = crypto.bytes(crypto.sha256("text"))"#,
            rhai: r#"let raw = crypto::bytes(crypto::sha256("text"));"#,
            run: |_, args| args.bytes(0).map(|text| Value::maybe(unhex(&text))).into(),
        },
        Function {
            name: "verify_password",
            params: &[
                Param::required("password", Type::Bytes, "what a client sent"),
                Param::required("stored", Type::String, "what `hash_password` gave"),
            ],
            variadic: false,
            returns: Type::Bool,
            doc: "Whether a password is the stored one, `$pbkdf2-sha256$i=ITERATIONS$SALT$HASH`. It waits, since that takes a tenth of a second on a thread of its own; few run at once, and too many that wait end the hook with a 503. What came of it is remembered: a right password for five minutes, a wrong one for 30 seconds.",
            lua: r#"local is_right = crypto.verify_password("lovelace", "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$zGExIpL/wtgPPt44HU1nPNkhG8JDEce15l8WZ+Y4rXw")"#,
            rhai: r#"let is_right = crypto::verify_password("lovelace", "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$zGExIpL/wtgPPt44HU1nPNkhG8JDEce15l8WZ+Y4rXw");"#,
            run: |scope, args| password::verify(scope, &args),
        },
        Function {
            name: "hash_password",
            params: &[
                Param::required("password", Type::Bytes, "the password"),
                Param::optional(
                    "iterations",
                    Type::Int,
                    "600000 when it is left out, as OWASP's Password Storage Cheat Sheet says",
                ),
            ],
            variadic: false,
            returns: Type::String,
            doc: "A password as it may be stored: PBKDF2-HMAC-SHA-256 (RFC 8018) with a random salt, as a PHC string. It waits, as `verify_password` does.",
            lua: r#"local stored = crypto.hash_password("lovelace", 1000)"#,
            rhai: r#"let stored = crypto::hash_password("lovelace", 1000);"#,
            run: |scope, args| password::hash(scope, &args),
        },
    ],
};

fn mac(hash: Hash, args: &Args) -> Result<String, Raise> {
    Ok(hex(&hash.hmac(&args.bytes(0)?, &args.bytes(1)?)))
}

fn equal(args: &Args) -> Result<bool, Raise> {
    Ok(digest::constant_time_eq(&args.bytes(0)?, &args.bytes(1)?))
}

fn random(args: &Args) -> Result<Bytes, Raise> {
    let count = args.int(0)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= 1 << 16);
    let count = count.ok_or_else(|| {
        Raise::error(format!("{} is not between 0 and 65536", args.get(0).as_f64().unwrap_or_default()))
    })?;
    digest::random(count).map(Bytes::from).map_err(|error| Raise::error(error.to_string()))
}

fn unhex(text: &[u8]) -> Option<Bytes> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty()).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    fn call(name: &str, args: &[Value]) -> String {
        show(run(&scope(Hook::OnLoad, None), &MODULE, name, args))
    }

    #[test]
    fn hashes_and_macs_are_hexadecimal() {
        let abc = r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#;
        assert_eq!(call("sha256", &["abc".into()]), abc);
        // RFC 4231, test case 2.
        let mac = r#""5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843""#;
        assert_eq!(call("hmac_sha256", &["Jefe".into(), "what do ya want for nothing?".into()]), mac);
        let lengths = ["sha384", "sha512"].map(|name| call(name, &["abc".into()]).len() - 2);
        assert_eq!(lengths, [96, 128]);
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(call("hex", &["a\u{7f}".into()]), r#""617f""#);
        assert_eq!(call("bytes", &["617F".into()]), r#""a\u{7f}""#);
        assert_eq!(call("bytes", &["617".into()]), "nil");
        assert_eq!(call("bytes", &["+1".into()]), "nil");
    }

    #[test]
    fn secrets_are_compared_and_made() {
        assert_eq!(call("equal", &["secret".into(), "secret".into()]), "true");
        assert_eq!(call("equal", &["secret".into(), "secre".into()]), "false");
        let made = run(&scope(Hook::OnLoad, None), &MODULE, "random", [16.into()]);
        assert_eq!(made.ok().and_then(|bytes| bytes.as_bytes().map(Bytes::len)), Some(16));
        assert_eq!(call("random", &[(-1).into()]), "error: -1 is not between 0 and 65536");
    }
}
