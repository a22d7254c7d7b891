//! `time`: the time of day, dates as text, and waiting.
//!
//! Instants are seconds since 1970 (Unix time, UTC) as numbers. There are no time zones but UTC and offsets in text that is read.

use crate::script::{
    Raise, Scope, Value,
    list::{Function, Module, Outcome, Param, Type},
    value::Args,
};
use std::time::{Duration, UNIX_EPOCH};
use time::{
    OffsetDateTime,
    format_description::{parse_strftime_owned, well_known::Rfc3339},
};

pub static MODULE: Module = Module {
    name: "time",
    doc: "The time of day in seconds since 1970 (UTC), dates as text, and waiting.",
    constants: &[],
    functions: &[
        Function {
            name: "now",
            params: &[],
            variadic: false,
            returns: Type::Number,
            doc: "The time in seconds, with a fraction.",
            lua: "local started = time.now()",
            rhai: "let started = time::now();",
            run: |scope, _| Value::from(scope.services.since_1970().as_secs_f64()).into(),
        },
        Function {
            name: "now_ms",
            params: &[],
            variadic: false,
            returns: Type::Int,
            doc: "The time in whole milliseconds.",
            lua: "local started = time.now_ms()",
            rhai: "let started = time::now_ms();",
            run: |scope, _| {
                Value::from(i64::try_from(scope.services.since_1970().as_millis()).unwrap_or(i64::MAX)).into()
            },
        },
        Function {
            name: "format",
            params: &[
                Param::required("seconds", Type::Number, "since 1970"),
                Param::optional(
                    "format",
                    Type::String,
                    "`http` for the form of HTTP headers, or a pattern as strftime's; RFC 3339 when it is left out",
                ),
            ],
            variadic: false,
            returns: Type::String,
            doc: "A time as text, in UTC.",
            lua: r#"res.headers["expires"] = time.format(time.now() + 60, "http")"#,
            rhai: r#"res.headers["expires"] = time::format(time::now() + 60.0, "http");"#,
            run: |_, args| format(&args).into(),
        },
        Function {
            name: "parse",
            params: &[Param::required("text", Type::String, "RFC 3339, or a date as in HTTP headers")],
            variadic: false,
            returns: Type::Maybe(&Type::Number),
            doc: "The seconds since 1970 that a date stands for; nothing when it is not one.",
            lua: r#"local created = time.parse("2026-11-24T06:00:00Z")"#,
            rhai: r#"let created = time::parse("2026-11-24T06:00:00Z");"#,
            run: |_, args| Ok(Value::maybe(args.get(0).as_str().and_then(parse))).into(),
        },
        Function {
            name: "sleep",
            params: &[Param::required("duration", Type::Duration, "how long; never past the exchange's deadline")],
            variadic: false,
            returns: Type::Nil,
            doc: "Waits. Other exchanges go on meanwhile.",
            lua: r#"time.sleep("100ms")"#,
            rhai: r#"time::sleep("100ms");"#,
            run: |scope, args| match sleep(scope, &args) {
                Ok(duration) if scope.services.trial.is_some() => {
                    // A test's clock stands still until it is moved: sleeping moves it.
                    scope.services.trial.iter().for_each(|trial| trial.advance(duration));
                    Outcome::Done(Ok(Value::Nil))
                }
                Ok(duration) => Outcome::wait(async move {
                    tokio::time::sleep(duration).await;
                    Ok(Value::Nil)
                }),
                Err(raise) => Outcome::Done(Err(raise)),
            },
        },
    ],
};

fn format(args: &Args) -> Result<Value, Raise> {
    let seconds = args.f64(0)?;
    // A double holds today's microseconds, and not much more.
    let nanos = ((seconds * 1e6).round() as i128).saturating_mul(1000);
    let wrong = || Raise::error(format!("`{seconds}` is not a time in the years 0 to 9999"));
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().filter(|_| seconds.is_finite()).ok_or_else(wrong)?;
    let text = match args.get(1) {
        Value::Nil => at.format(&Rfc3339).map_err(|_| wrong())?,
        _ => {
            let pattern = args.str(1)?;
            // IMF-fixdate, RFC 9110 §5.6.7.
            let pattern = if pattern == "http" { "%a, %d %b %Y %H:%M:%S GMT" } else { pattern };
            let not_one = |why: String| Raise::error(format!("`{}` is not a format: {why}", pattern.escape_debug()));
            let items = parse_strftime_owned(pattern).map_err(|e| not_one(e.to_string()))?;
            at.format(&items).map_err(|e| not_one(e.to_string()))?
        }
    };
    Ok(text.into())
}

fn parse(text: &str) -> Option<f64> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some((at.unix_timestamp_nanos() / 1000) as f64 / 1e6);
    }
    // All three forms that a recipient must understand, RFC 9110 §5.6.7.
    let at = httpdate::parse_http_date(text).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

fn sleep(scope: &Scope, args: &Args) -> Result<Duration, Raise> {
    let wanted = args.duration(0)?.unwrap_or_default();
    Ok(scope.exchange.as_ref().map_or(wanted, |exchange| wanted.min(exchange.remaining())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook, fixture,
        fixture::{run, scope, show},
    };

    fn call(name: &str, args: &[Value]) -> String {
        show(run(&scope(Hook::OnLoad, None), &MODULE, name, args))
    }

    #[test]
    fn times_are_written() {
        let format = |seconds: f64, pattern: Value| call("format", &[seconds.into(), pattern]);
        assert_eq!(format(0.0, Value::Nil), r#""1970-01-01T00:00:00Z""#);
        assert_eq!(format(1_700_000_000.25, Value::Nil), r#""2023-11-14T22:13:20.25Z""#);
        assert_eq!(format(784_111_777.0, "http".into()), r#""Sun, 06 Nov 1994 08:49:37 GMT""#);
        assert_eq!(format(784_111_777.9, "%Y-%m-%d %j".into()), r#""1994-11-06 310""#);
        assert_eq!(format(1e15, Value::Nil), "error: `1000000000000000` is not a time in the years 0 to 9999");
        assert!(format(1e300, Value::Nil).ends_with("is not a time in the years 0 to 9999"));
        assert_eq!(format(f64::NAN, Value::Nil), "error: `NaN` is not a time in the years 0 to 9999");
        let unknown = "error: `%Q` is not a format: invalid component name `Q` at byte index 1";
        assert_eq!(format(0.0, "%Q".into()), unknown);
    }

    #[test]
    fn times_are_read() {
        let parse = |text: &str| call("parse", &[text.into()]);
        assert_eq!(parse("2023-11-14T23:13:20.25+01:00"), "1700000000.25");
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), "784111777.0");
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT"), "784111777.0");
        assert_eq!(parse("Sun Nov  6 08:49:37 1994"), "784111777.0");
        assert_eq!(parse("yesterday"), "nil");
    }

    #[test]
    fn nobody_sleeps_past_the_deadline() {
        let scope = scope(Hook::OnRequest, Some(fixture::exchange("")));
        let long = sleep(&scope, &Args(vec!["1h".into()])).expect("a duration");
        assert!(long <= Duration::from_secs(5));
        assert_eq!(sleep(&scope, &Args(vec!["20ms".into()])).ok(), Some(Duration::from_millis(20)));
    }
}
