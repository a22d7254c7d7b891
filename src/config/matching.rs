//! The conditions of a route besides its paths: hosts, header and query values, each parsed once.
//!
//! How well a route matches, and which wins, is the router's business.

use regex::Regex;

/// One entry of a route's `hosts`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: one label or more stands before it.
    Suffix(String),
    /// `api.*`, kept as `api.`: one label or more stands after it.
    Prefix(String),
}

/// As it is written.
impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostPattern::Exact(host) => f.write_str(host),
            HostPattern::Suffix(end) => write!(f, "*{end}"),
            HostPattern::Prefix(start) => write!(f, "{start}*"),
        }
    }
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<HostPattern, &'static str> {
        let host = text.to_ascii_lowercase();
        if host == "*" {
            return Err("leave `hosts` out to match every host");
        }
        if host.contains(':') && !host.starts_with('[') {
            return Err("a host has no port here; use `listeners` to tell ports apart");
        }
        let (pattern, fixed) = if let Some(rest) = host.strip_prefix("*.") {
            (HostPattern::Suffix(format!(".{rest}")), rest)
        } else if let Some(rest) = host.strip_suffix(".*") {
            (HostPattern::Prefix(format!("{rest}.")), rest)
        } else {
            (HostPattern::Exact(host.clone()), host.as_str())
        };
        if fixed.contains('*') {
            return Err("`*` stands alone for the first or the last labels");
        }
        if fixed.starts_with('[') {
            return Ok(pattern);
        }
        super::target::check_host(fixed)?;
        Ok(pattern)
    }

    /// Whether a host, in lower case and without its port, matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(exact) => host == exact,
            HostPattern::Suffix(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            HostPattern::Prefix(start) => host.len() > start.len() && host.starts_with(start.as_str()),
        }
    }
}

/// One allowed value of a header or a query parameter.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    Exact(String),
    /// `~*regex`: found anywhere in the value, whatever its case, as in Kong.
    Regex {
        source: String,
        regex: Regex,
    },
}

impl ValueMatch {
    pub(super) fn parse(text: &str) -> Result<ValueMatch, String> {
        let Some(source) = text.strip_prefix("~*") else {
            return Ok(ValueMatch::Exact(text.to_owned()));
        };
        let regex = regex::RegexBuilder::new(source).case_insensitive(true).build();
        Ok(ValueMatch::Regex { source: source.to_owned(), regex: regex.map_err(|e| regex_reason(&e))? })
    }

    /// Whether a header's value matches; case does not count, as in Kong.
    pub fn matches_header(&self, value: &str) -> bool {
        match self {
            ValueMatch::Exact(exact) => exact.eq_ignore_ascii_case(value),
            ValueMatch::Regex { regex, .. } => regex.is_match(value),
        }
    }

    /// Whether a query parameter's value matches; case counts.
    pub fn matches_query(&self, value: &str) -> bool {
        match self {
            ValueMatch::Exact(exact) => exact == value,
            ValueMatch::Regex { regex, .. } => regex.is_match(value),
        }
    }
}

impl std::fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ValueMatch::Exact(exact) => f.write_str(exact),
            ValueMatch::Regex { source, .. } => write!(f, "~*{source}"),
        }
    }
}

/// The last line of the regex crate's message, without the expression, which may hold what `${…}` gave.
pub(super) fn regex_reason(error: &regex::Error) -> String {
    match error {
        regex::Error::Syntax(text) => {
            let last = text.lines().last().unwrap_or_default().trim();
            last.trim_start_matches("error: ").to_owned()
        }
        regex::Error::CompiledTooBig(_) => "it is too big once compiled".to_owned(),
        _ => "it cannot be compiled".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_whole_labels() {
        let cases = [
            ("API.example.com", "api.example.com", true),
            ("api.example.com", "x.api.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("api.*", "api.example.org", true),
            ("api.*", "apis.example.org", false),
        ];
        for (pattern, host, expected) in cases {
            let pattern = HostPattern::parse(pattern).expect(pattern);
            assert_eq!(pattern.matches(host), expected, "{pattern:?} {host}");
        }
        let refused = ["*", "a:80", "a.*.b", "*.*", "a b", ""].map(HostPattern::parse);
        assert_eq!(
            refused.map(|r| r.err().unwrap_or("accepted")),
            [
                "leave `hosts` out to match every host",
                "a host has no port here; use `listeners` to tell ports apart",
                "`*` stands alone for the first or the last labels",
                "`*` stands alone for the first or the last labels",
                "a host is made of letters, digits, `-`, `.` and `_`",
                "there is no host",
            ]
        );
    }

    #[test]
    fn header_values_are_compared_as_kong_does() {
        let cases = [("v2", "V2", true), ("v2", "v21", false), ("~*^v\\d$", "V2", true)];
        for (pattern, value, expected) in cases {
            let parsed = ValueMatch::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches_header(value), expected, "{pattern} {value}");
        }
        let error = ValueMatch::parse("~*[").err();
        assert_eq!(error.as_deref(), Some("unclosed character class"));
    }
}
