//! `base64`: RFC 4648, the standard alphabet (§4) and the one for URLs (§5).
//!
//! Text that is not base64 decodes to nothing rather than an error, since it often comes from a client.

use crate::script::{
    Raise, Value,
    list::{Function, Module, Param, Type},
    value::Args,
};
use base64::{
    Engine,
    engine::general_purpose::{
        GeneralPurpose, STANDARD, STANDARD_PAD_INDIFFERENT, URL_SAFE_NO_PAD, URL_SAFE_NO_PAD_INDIFFERENT,
    },
};

const BYTES: Param = Param::required("bytes", Type::Bytes, "what to encode");
const TEXT: Param = Param::required("text", Type::String, "what to decode, padded or not");

pub static MODULE: Module = Module {
    name: "base64",
    doc: "Base64 (RFC 4648).",
    constants: &[],
    functions: &[
        Function {
            name: "encode",
            params: &[BYTES],
            variadic: false,
            returns: Type::String,
            doc: "Encodes with the standard alphabet and padding.",
            lua: r#"local text = base64.encode("user:secret")"#,
            rhai: r#"let text = base64::encode("user:secret");"#,
            run: |_, args| encode(&STANDARD, &args).into(),
        },
        Function {
            name: "decode",
            params: &[TEXT],
            variadic: false,
            returns: Type::Maybe(&Type::Bytes),
            doc: "The bytes that the text stands for; nothing when it is not base64.",
            lua: r#"local pair = base64.decode("dXNlcjpzZWNyZXQ=")"#,
            rhai: r#"let pair = base64::decode("dXNlcjpzZWNyZXQ=");"#,
            run: |_, args| decode(&STANDARD_PAD_INDIFFERENT, &args).into(),
        },
        Function {
            name: "url_encode",
            params: &[BYTES],
            variadic: false,
            returns: Type::String,
            doc: "Encodes with the alphabet for URLs, without padding, as tokens do.",
            lua: r#"local text = base64.url_encode(crypto.random(16))"#,
            rhai: r#"let text = base64::url_encode(crypto::random(16));"#,
            run: |_, args| encode(&URL_SAFE_NO_PAD, &args).into(),
        },
        Function {
            name: "url_decode",
            params: &[TEXT],
            variadic: false,
            returns: Type::Maybe(&Type::Bytes),
            doc: "The bytes that text in the alphabet for URLs stands for; nothing when it is not that.",
            lua: r#"local bytes = base64.url_decode("-_8")"#,
            rhai: r#"let bytes = base64::url_decode("-_8");"#,
            run: |_, args| decode(&URL_SAFE_NO_PAD_INDIFFERENT, &args).into(),
        },
    ],
};

fn encode(alphabet: &GeneralPurpose, args: &Args) -> Result<Value, Raise> {
    Ok(alphabet.encode(args.bytes(0)?).into())
}

fn decode(alphabet: &GeneralPurpose, args: &Args) -> Result<Value, Raise> {
    let decoded = alphabet.decode(args.bytes(0)?).ok();
    Ok(Value::maybe(decoded.map(bytes::Bytes::from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    #[test]
    fn both_alphabets_go_both_ways() {
        let call = |name: &str, arg: &str| show(run(&scope(Hook::OnLoad, None), &MODULE, name, [arg.into()]));
        assert_eq!(call("encode", "user:secret"), r#""dXNlcjpzZWNyZXQ=""#);
        assert_eq!(call("decode", "dXNlcjpzZWNyZXQ="), r#""user:secret""#);
        assert_eq!(call("decode", "dXNlcjpzZWNyZXQ"), r#""user:secret""#);
        assert_eq!(call("url_encode", "??>"), r#""Pz8-""#);
        assert_eq!(call("url_decode", "Pz8-"), r#""??>""#);
        assert_eq!(call("decode", "not base64!"), "nil");
        assert_eq!(call("url_decode", "Pz8+"), "nil");
    }
}
