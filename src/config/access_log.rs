//! `access_log`: where lines go, how many, and what they hold.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::keys;
use super::listener::each;
use super::node::Node;
use super::table::{Table, mismatch, string};

/// What a line can hold, in the order of a whole one.
pub const FIELDS: [&str; 21] = [
    "time",
    "id",
    "trace_id",
    "client",
    "identity",
    "method",
    "host",
    "path",
    "protocol",
    "status",
    "flags",
    "route",
    "service",
    "target",
    "tries",
    "request_bytes",
    "bytes",
    "duration_ms",
    "upstream_ms",
    "scripts_ms",
    "generation",
];

#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    pub to: AccessLogTo,
    /// The share of the exchanges that is written, 0 to 1.
    pub sample: f64,
    /// Of [`FIELDS`], in the order in which they are written.
    pub fields: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTo {
    #[default]
    Stdout,
    Off,
    File(PathBuf),
}

impl AccessLog {
    fn whole(to: AccessLogTo) -> AccessLog {
        AccessLog { to, sample: 1.0, fields: FIELDS.map(str::to_owned).to_vec() }
    }
}

pub(super) fn access_log(node: Option<&Node>, directory: &Path, diagnostics: &mut Diagnostics) -> AccessLog {
    let Some(node) = node else {
        return AccessLog::whole(AccessLogTo::Stdout);
    };
    if node.as_bool() == Some(false) {
        return AccessLog::whole(AccessLogTo::Off);
    }
    if node.as_map().is_none() {
        let text = string(node, diagnostics);
        return AccessLog::whole(to(text.as_deref().map(String::as_str), directory));
    }
    let Some(table) = Table::open(node, &keys::ACCESS_LOG, diagnostics) else {
        return AccessLog::whole(AccessLogTo::Stdout);
    };
    let file = table.string("file", diagnostics);
    let mut log = AccessLog::whole(to(file.as_deref().map(String::as_str), directory));
    if let Some(node) = table.get("sample") {
        match node.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => log.sample = share,
            None => mismatch(node, "a share from 0 to 1", diagnostics),
        }
    }
    let known = |name: &super::source::Spanned<String>| match FIELDS.contains(&name.value.as_str()) {
        true => Ok(name.value.clone()),
        false => Err(match super::nearest(&name.value, FIELDS) {
            Some(near) => format!("is not a field of the access log: did you mean `{near}`?"),
            None => "is not a field of the access log".to_owned(),
        }),
    };
    if let Some(fields) = each(table.get("fields"), diagnostics, known) {
        log.fields = fields;
    }
    log
}

fn to(text: Option<&str>, directory: &Path) -> AccessLogTo {
    match text {
        Some("off") => AccessLogTo::Off,
        Some("stdout" | "") | None => AccessLogTo::Stdout,
        Some(file) => AccessLogTo::File(directory.join(file)),
    }
}
