//! `metrics`: what scripts count themselves, on the page at `/metrics` beside what the gateway counts.
//!
//! Names and labels are checked here; how many series there may be, and what outlives a reload, is
//! [`own`](crate::observe::metrics::own)'s.

use crate::{
    observe::metrics::own::{DEFAULT_BOUNDS, Kind, Labels, OwnError, Series},
    script::{
        Hook, Raise, Scope, Value,
        list::{Function, Module, Param, Type},
        value::Args,
    },
};
use std::sync::Arc;

/// Of a name, and of a label's name.
const LONGEST_NAME: usize = 64;
/// Bytes of a label's value; what is longer is cut.
const LONGEST_VALUE: usize = 128;
const MAX_LABELS: usize = 8;
const MAX_BUCKETS: usize = 30;
/// What the page puts behind names: with one of them a name could be that of another metric's line.
const SUFFIXES: [&str; 5] = ["_total", "_bucket", "_count", "_sum", "_created"];

const NAME: Param =
    Param::required("name", Type::String, "letters, digits and `_`; the page puts `gatewright_plugin_` before it");
const LABELS: Param = Param::optional(
    "labels",
    Type::Map(&Type::Scalar),
    "at most 8; `plugin` is set by the gateway. Values must be few: never an id",
);

static OPTIONS: &[Param] = &[
    Param::optional("help", Type::String, "what it counts, for people"),
    Param::optional("buckets", Type::List(&Type::Number), "upper bounds of a histogram, ascending; at most 30"),
];

pub static MODULE: Module = Module {
    name: "metrics",
    doc: "A script's own metrics, at `/metrics` with the label `plugin`. They are of the whole process, go on over reloads, and leave with their plugin. A plugin may have 1000 series in all; what comes above counts with `other` for every label, and the log says so once.",
    constants: &[],
    functions: &[
        Function {
            name: "counter",
            params: &[NAME, LABELS, Param::optional("by", Type::Number, "1 when it is left out; never negative")],
            variadic: false,
            returns: Type::Nil,
            doc: "Adds to a counter; its name on the page ends in `_total`. In `on_load` one worker counts for all.",
            lua: r#"metrics.counter("orders", { country = "de" })"#,
            rhai: r#"metrics::counter("orders", #{ country: "de" });"#,
            run: |scope, args| counter(scope, &args).into(),
        },
        Function {
            name: "gauge",
            params: &[NAME, Param::required("value", Type::Number, "what it is now"), LABELS],
            variadic: false,
            returns: Type::Nil,
            doc: "Sets a gauge.",
            lua: r#"metrics.gauge("queue_length", 12)"#,
            rhai: r#"metrics::gauge("queue_length", 12);"#,
            run: |scope, args| gauge(scope, &args).into(),
        },
        Function {
            name: "histogram",
            params: &[NAME, Param::required("value", Type::Number, "what was observed"), LABELS],
            variadic: false,
            returns: Type::Nil,
            doc: "Counts a value in a histogram: with the buckets that `describe` gave it, or those for seconds, from 0.0005 to 10. In `on_load` one worker counts for all.",
            lua: r#"metrics.histogram("ledger_seconds", 0.012, { part = "read" })"#,
            rhai: r#"metrics::histogram("ledger_seconds", 0.012, #{ part: "read" });"#,
            run: |scope, args| histogram(scope, &args).into(),
        },
        Function {
            name: "describe",
            params: &[
                NAME,
                Param::required("kind", Type::String, "`counter`, `gauge` or `histogram`"),
                Param::optional("options", Type::Options(OPTIONS), "more about it"),
            ],
            variadic: false,
            returns: Type::Nil,
            doc: "Says what a metric is; best in `on_load`. What it counts may be changed by a reload, which begins it anew.",
            lua: r#"metrics.describe("order_items", "histogram", { help = "Items of an order.", buckets = { 1, 5, 25 } })"#,
            rhai: r#"metrics::describe("order_items", "histogram", #{ help: "Items of an order.", buckets: [1, 5, 25] });"#,
            run: |scope, args| describe(scope, &args).into(),
        },
    ],
};

fn counter(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let by = if args.get(2).is_nil() { 1.0 } else { number(args, 2)? };
    if by < 0.0 {
        return Err(Raise::error(format!("a counter never falls: {by}; use a gauge")));
    }
    let series = series(scope, args, &Kind::Counter, args.get(1))?;
    if speaks(scope) {
        series.add(by);
    }
    Ok(Value::Nil)
}

fn gauge(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let value = number(args, 1)?;
    series(scope, args, &Kind::Gauge, args.get(2))?.set(value);
    Ok(Value::Nil)
}

fn histogram(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let value = number(args, 1)?;
    let described = scope.services.metrics.kind(&scope.instance.plugin, args.str(0)?);
    let kind = match described {
        Some(kind @ Kind::Histogram(_)) => kind,
        _ => Kind::Histogram(Arc::from(DEFAULT_BOUNDS)),
    };
    let series = series(scope, args, &kind, args.get(2))?;
    if speaks(scope) {
        series.observe(value);
    }
    Ok(Value::Nil)
}

fn describe(scope: &Scope, args: &Args) -> Result<Value, Raise> {
    let name = name(args)?;
    let buckets = super::option(args.get(2), "buckets");
    let kind = match (args.str(1)?, buckets) {
        ("counter", Value::Nil) => Kind::Counter,
        ("gauge", Value::Nil) => Kind::Gauge,
        ("histogram", Value::Nil) => Kind::Histogram(Arc::from(DEFAULT_BOUNDS)),
        ("histogram", Value::List(bounds)) => Kind::Histogram(bounds_of(bounds)?),
        ("counter" | "gauge", _) => return Err(Raise::error("only a histogram has buckets")),
        (other, _) => return Err(Raise::error(format!("`{other}` is not `counter`, `gauge` or `histogram`"))),
    };
    let help = super::option(args.get(2), "help").as_str().unwrap_or("Counted by scripts.").to_owned();
    scope.services.metrics.describe(&scope.instance.plugin, name, kind, &help).map_err(refused)?;
    Ok(Value::Nil)
}

fn bounds_of(list: &[Value]) -> Result<Arc<[f64]>, Raise> {
    let bounds: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
    let ascend = bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|a, b| a < b);
    if bounds.is_empty() || bounds.len() > MAX_BUCKETS || !ascend {
        return Err(Raise::error(format!("`buckets`: expected 1 to {MAX_BUCKETS} ascending numbers")));
    }
    Ok(Arc::from(bounds))
}

/// Each worker runs `on_load`.
fn speaks(scope: &Scope) -> bool {
    scope.hook != Hook::OnLoad || scope.services.first_worker
}

fn number(args: &Args, index: usize) -> Result<f64, Raise> {
    let value = args.f64(index)?;
    if value.is_finite() { Ok(value) } else { Err(Raise::error(format!("{value} is not a number to count"))) }
}

fn series(scope: &Scope, args: &Args, kind: &Kind, labels: &Value) -> Result<Arc<Series>, Raise> {
    let labels = labels_of(labels)?;
    scope.services.metrics.series(&scope.instance.plugin, name(args)?, kind, labels).map_err(refused)
}

fn name(args: &Args) -> Result<&str, Raise> {
    let name = args.str(0)?;
    if !is_name(name) {
        let name = name.escape_debug();
        let rule = format!("up to {LONGEST_NAME} letters, digits and `_`, a letter first");
        return Err(Raise::error(format!("`{name}` is not a name: {rule}")));
    }
    match SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)) {
        Some(suffix) => Err(Raise::error(format!("`{name}`: leave `{suffix}` out, the page adds what belongs there"))),
        None => Ok(name),
    }
}

/// Prometheus' data model, without the colon, which is for rules, and names that begin with `_`, which are its own.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A map of labels, in the order of their names.
pub fn labels_of(given: &Value) -> Result<Labels, Raise> {
    let entries = match given {
        Value::Map(entries) => &entries[..],
        _ => &[],
    };
    if entries.len() > MAX_LABELS {
        return Err(Raise::error(format!("{} labels are too many: at most {MAX_LABELS}", entries.len())));
    }
    let label = |(name, value): &(String, Value)| {
        if !is_name(name) || matches!(name.as_str(), "plugin" | "le" | "quantile") {
            return Err(Raise::error(format!("`{}` can't be the name of a label", name.escape_debug())));
        }
        let mut text = match value {
            Value::Bool(bool) => bool.to_string(),
            Value::Int(int) => int.to_string(),
            Value::Float(float) => float.to_string(),
            Value::Str(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        text.truncate(text.floor_char_boundary(LONGEST_VALUE));
        Ok((name.clone(), text))
    };
    entries.iter().map(label).collect()
}

/// The engines put the function's name in front.
fn refused(error: OwnError) -> Raise {
    Raise::error(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::fixture::{run, scope, show};

    fn labels(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn what_is_no_metric_is_refused() {
        let scope = scope(Hook::OnLoad, None);
        let said = |name: &str, args: &[Value]| show(run(&scope, &MODULE, name, args));
        assert_eq!(said("counter", &["a".into(), Value::Nil, 2.5.into()]), "nil");
        assert_eq!(said("counter", &["a".into(), labels(&[("x", true.into())])]), "nil");
        for wrong in ["", "1a", "_a", "a-b", "a:b", "ä", &"a".repeat(65)] {
            assert_eq!(
                said("counter", &[wrong.into()]),
                format!("error: `{wrong}` is not a name: up to 64 letters, digits and `_`, a letter first")
            );
        }
        assert_eq!(
            said("counter", &["a".into(), Value::Nil, (-1).into()]),
            "error: a counter never falls: -1; use a gauge"
        );
        assert_eq!(said("gauge", &["a".into(), 1.into()]), "error: `a` is a counter and can't be a gauge as well");
        assert_eq!(said("gauge", &["b".into(), f64::NAN.into()]), "error: NaN is not a number to count");
        assert_eq!(
            said("counter", &["orders_total".into()]),
            "error: `orders_total`: leave `_total` out, the page adds what belongs there"
        );
        for name in ["plugin", "le", "__x", "a b"] {
            let error = format!("error: `{name}` can't be the name of a label");
            assert_eq!(said("gauge", &["b".into(), 1.into(), labels(&[(name, "x".into())])]), error);
        }
        let many: Vec<(String, Value)> = (0..9).map(|number| (format!("l{number}"), 1.into())).collect();
        assert_eq!(said("gauge", &["b".into(), 1.into(), Value::Map(many)]), "error: 9 labels are too many: at most 8");
        assert_eq!(
            said("describe", &["c".into(), "sum".into()]),
            "error: `sum` is not `counter`, `gauge` or `histogram`"
        );
        let falling = Value::Map(vec![("buckets".into(), Value::List(vec![2.into(), 1.into()]))]);
        assert_eq!(
            said("describe", &["c".into(), "histogram".into(), falling]),
            "error: `buckets`: expected 1 to 30 ascending numbers"
        );
    }

    #[test]
    fn values_of_labels_are_cut_within_no_character() {
        let long = labels(&[("x", format!("{}ä", "a".repeat(127)).into())]);
        assert_eq!(labels_of(&long).ok(), Some(vec![("x".to_owned(), "a".repeat(127))]));
    }
}
