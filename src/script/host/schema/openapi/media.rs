//! Media types of request bodies (RFC 9110 §8.3.1): which entry of `content` is meant, and how a body of it is read.

/// The type without its parameters, in lower case.
pub fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Of an essence, as all that follows.
pub fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

pub fn is_form(kind: &str) -> bool {
    kind == "application/x-www-form-urlencoded"
}

/// How well a range such as `application/*` fits a type; nothing when it doesn't.
pub fn fit(range: &str, kind: &str) -> Option<u8> {
    if range == kind {
        return Some(2);
    }
    match range.strip_suffix("/*") {
        Some("*") => Some(0),
        Some(family) if kind.split('/').next() == Some(family) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fit_by_degrees() {
        let fits = |range: &str| fit(&essence(range), "application/problem+json");
        assert_eq!(
            ["*/*", "application/*", "Application/Problem+JSON; charset=utf-8", "text/*", "application/json"].map(fits),
            [Some(0), Some(1), Some(2), None, None]
        );
        assert!(is_json(&essence("Application/Hal+JSON; charset=utf-8")) && !is_json("application/jsonp"));
    }
}
