//! `url`: percent-encoding, queries, and the parts of an absolute URL (WHATWG).
//!
//! Nothing here calls anything: that is `http`, which fills and encodes its URLs itself.

use super::query::scalar_text;
use crate::{
    http::query::Query,
    script::{
        Raise, Value,
        list::{Function, Module, Param, Type},
        value::Args,
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use reqwest::Url;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

static PARTS: &[Param] = &[
    Param::required("scheme", Type::String, "in lower case"),
    Param::required("host", Type::String, "in lower case; an IPv6 address in brackets"),
    Param::optional("port", Type::Int, "the scheme's own when the URL has none"),
    Param::required("path", Type::String, "percent-encoded, at least `/`"),
    Param::optional("query", Type::String, "without the question mark"),
];

pub static MODULE: Module = Module {
    name: "url",
    doc: "Takes URLs apart and encodes what goes into them.",
    constants: &[],
    functions: &[
        Function {
            name: "encode",
            params: &[Param::required("text", Type::String, "one component: a segment, a name or a value")],
            variadic: false,
            returns: Type::String,
            doc: "Percent-encodes everything but letters, digits and `-._~` (RFC 3986 §2.3).",
            lua: r#"local segment = url.encode("a/b c")"#,
            rhai: r#"let segment = url::encode("a/b c");"#,
            run: |_, args| encode(&args).into(),
        },
        Function {
            name: "decode",
            params: &[Param::required("text", Type::String, "a percent-encoded component")],
            variadic: false,
            returns: Type::String,
            doc: "Undoes percent-encoding; malformed triplets stay as they are, and so does `+`.",
            lua: r#"local text = url.decode("a%2Fb%20c")"#,
            rhai: r#"let text = url::decode("a%2Fb%20c");"#,
            run: |_, args| decode(&args).into(),
        },
        Function {
            name: "query",
            params: &[Param::required("params", Type::Map(&Type::Scalar), "values by name")],
            variadic: false,
            returns: Type::String,
            doc: "A query string, encoded, in the order of the names and without the question mark; nothing leaves its name out.",
            lua: r#"local query = url.query({ page = 2, q = "tea & milk" })"#,
            rhai: r#"let query = url::query(#{ page: 2, q: "tea & milk" });"#,
            run: |_, args| make_query(&args).into(),
        },
        Function {
            name: "parse",
            params: &[Param::required("url", Type::String, "an absolute URL")],
            variadic: false,
            returns: Type::Maybe(&Type::Options(PARTS)),
            doc: "The parts of an absolute URL with a host, normalised as browsers do; nothing when it is not one.",
            lua: r#"local host = url.parse("https://example.com:8443/a?b=c").host"#,
            rhai: r#"let host = url::parse("https://example.com:8443/a?b=c").host;"#,
            run: |_, args| parse(&args).into(),
        },
    ],
};

fn encode(args: &Args) -> Result<Value, Raise> {
    Ok(percent_encode(&args.bytes(0)?, COMPONENT).to_string().into())
}

fn decode(args: &Args) -> Result<Value, Raise> {
    let text = args.bytes(0)?;
    Ok(Value::Str(percent_decode(&text).collect()))
}

fn make_query(args: &Args) -> Result<Value, Raise> {
    let mut query = Query::default();
    if let Value::Map(entries) = args.get(0) {
        for (name, value) in entries {
            if let Some(value) = scalar_text(value)? {
                query.add(name, &value);
            }
        }
    }
    Ok(query.encode().into())
}

fn parse(args: &Args) -> Result<Value, Raise> {
    let Some(url) = args.get(0).as_str().and_then(|text| Url::parse(text).ok()) else {
        return Ok(Value::Nil);
    };
    let Some(host) = url.host_str() else {
        return Ok(Value::Nil);
    };
    Ok(Value::Map(vec![
        ("host".into(), host.into()),
        ("path".into(), url.path().into()),
        ("port".into(), Value::maybe(url.port_or_known_default().map(i64::from))),
        ("query".into(), Value::maybe(url.query())),
        ("scheme".into(), url.scheme().into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    fn call(name: &str, arg: impl Into<Value>) -> String {
        show(run(&scope(Hook::OnLoad, None), &MODULE, name, [arg.into()]))
    }

    #[test]
    fn a_component_keeps_nothing_that_has_a_meaning() {
        assert_eq!(call("encode", "a/b c+ü~"), r#""a%2Fb%20c%2B%C3%BC~""#);
        assert_eq!(call("decode", "a%2Fb%20c+%zz"), r#""a/b c+%zz""#);
    }

    #[test]
    fn a_url_is_taken_apart() {
        let shown = r#"{host: "example.com", path: "/a", port: 8443, query: "b=c", scheme: "https"}"#;
        assert_eq!(call("parse", "HTTPS://Example.com:8443/a?b=c#d"), shown);
        let shown = r#"{host: "[::1]", path: "/", port: 80, query: nil, scheme: "http"}"#;
        assert_eq!(call("parse", "http://[::1]"), shown);
        for wrong in ["/a/b", "not a url", "mailto:a@example.com", "http://"] {
            assert_eq!(call("parse", wrong), "nil", "{wrong}");
        }
    }
}
