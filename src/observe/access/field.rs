//! What a line holds, and how it is written: JSON for programs, or short for people.
//!
//! SECURITY: everything that a client wrote is escaped, so that it can't begin a line of its own, leave its string, or steer
//! the terminal that shows the log.

use std::{
    fmt::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One exchange.
pub struct Line<'a> {
    pub id: &'a str,
    pub trace_id: &'a str,
    pub method: &'a str,
    pub host: &'a str,
    /// Without the query.
    pub path: &'a str,
    pub protocol: &'a str,
    pub status: u16,
    pub route: &'a str,
    pub service: &'a str,
    pub target: &'a str,
    pub tries: u32,
    pub client: IpAddr,
    pub request_bytes: u64,
    pub bytes: u64,
    pub duration: Duration,
    pub upstream: Duration,
    pub scripts: Duration,
    /// `id` of the identity that an auth plugin found.
    pub identity: &'a str,
    /// Words for what was not as it should be.
    pub flags: &'a [&'a str],
    /// The plugin that refused it.
    pub refused_by: Option<&'a str>,
    pub generation: u64,
}

macro_rules! fields {
    ($($name:ident $text:literal,)*) => {
        /// A part of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($name,)*
        }

        impl Field {
            pub const ALL: &[Field] = &[$(Field::$name,)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Field::$name => $text,)*
                }
            }
        }
    };
}

fields! {
    Time "time",
    Id "id",
    TraceId "trace_id",
    Client "client",
    Identity "identity",
    Method "method",
    Host "host",
    Path "path",
    Protocol "protocol",
    Status "status",
    Flags "flags",
    Route "route",
    Service "service",
    Target "target",
    Tries "tries",
    RequestBytes "request_bytes",
    Bytes "bytes",
    Duration "duration_ms",
    Upstream "upstream_ms",
    Scripts "scripts_ms",
    Generation "generation",
}

impl Field {
    pub fn named(name: &str) -> Option<Field> {
        Field::ALL.iter().copied().find(|field| field.name() == name)
    }
}

impl Line<'_> {
    pub fn json(&self, fields: &[Field]) -> String {
        let mut out = String::with_capacity(512);
        for (at, field) in fields.iter().enumerate() {
            out.push(if at == 0 { '{' } else { ',' });
            let _ = write!(out, "\"{}\":", field.name());
            self.value(*field, &mut out);
        }
        out.push_str("}\n");
        out
    }

    fn value(&self, field: Field, out: &mut String) {
        match field {
            Field::Time => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let _ = write!(out, "{}.{:03}", since.as_secs(), since.subsec_millis());
            }
            Field::Id => string(self.id, out),
            Field::TraceId => string(self.trace_id, out),
            Field::Client => {
                let _ = write!(out, "\"{}\"", self.client);
            }
            Field::Identity => string(self.identity, out),
            Field::Method => string(self.method, out),
            Field::Host => string(self.host, out),
            Field::Path => string(self.path, out),
            Field::Protocol => string(self.protocol, out),
            Field::Route => string(self.route, out),
            Field::Service => string(self.service, out),
            Field::Target => string(self.target, out),
            Field::Status => number(u64::from(self.status), out),
            Field::Tries => number(u64::from(self.tries), out),
            Field::RequestBytes => number(self.request_bytes, out),
            Field::Bytes => number(self.bytes, out),
            Field::Generation => number(self.generation, out),
            Field::Duration => milliseconds(self.duration, out),
            Field::Upstream => milliseconds(self.upstream, out),
            Field::Scripts => milliseconds(self.scripts, out),
            Field::Flags => self.flags(out),
        }
    }

    fn flags(&self, out: &mut String) {
        out.push('[');
        for (at, flag) in self.flags.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            string(flag, out);
        }
        if let Some(plugin) = self.refused_by {
            out.push_str(if self.flags.is_empty() { "" } else { "," });
            string(&format!("refused:{plugin}"), out);
        }
        out.push(']');
    }

    /// A normalised path holds no control characters, and a route's name is the operator's.
    pub fn readable(&self) -> String {
        let Line { status, method, path, .. } = self;
        let route = if self.route.is_empty() { "no route" } else { self.route };
        let flags = if self.flags.is_empty() { String::new() } else { format!("  ({})", self.flags.join(", ")) };
        let mut took = String::new();
        milliseconds(self.duration, &mut took);
        format!("{status} {method:<6} {path}  [{route}]  {took} ms{flags}\n")
    }
}

fn number(number: u64, out: &mut String) {
    let _ = write!(out, "{number}");
}

fn milliseconds(duration: Duration, out: &mut String) {
    let microseconds = duration.as_micros();
    let _ = write!(out, "{}.{:03}", microseconds / 1000, microseconds % 1000);
}

/// A JSON string (RFC 8259 §7). Escaped beyond what JSON asks: DEL, the C1 controls, and what separates lines or turns the direction of text.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_begins_a_line_or_steers_a_terminal() {
        let mut out = String::new();
        string("a\"\\\n\r\u{1b}[31m\u{7f}\u{9b}\u{202e}ü", &mut out);
        assert_eq!(out, r#""a\"\\\u000a\u000d\u001b[31m\u007f\u009b\u202eü""#);
    }

    #[test]
    fn the_configuration_knows_the_same_fields() {
        let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
        assert_eq!(names, crate::config::ACCESS_LOG_FIELDS);
    }

    #[test]
    fn times_are_milliseconds_with_three_places() {
        let mut out = String::new();
        milliseconds(Duration::from_micros(12_034), &mut out);
        assert_eq!(out, "12.034");
    }
}
