//! Identity headers: names that only the gateway may set, in any spelling a client might try.
//!
//! Servers in the CGI tradition hand `X-User-Id`, `X_User_Id` and `X.User.Id` to the application as one variable
//! (RFC 3875 §4.1.18), so removing the canonical name alone lets the others through (GHSA-x677 in Traefik). Names are
//! therefore compared after folding. This file decides nothing about who the user is.

use http::{HeaderMap, HeaderName};

/// The folded names that clients may not send. Built once for a generation.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaders {
    names: Vec<Box<[u8]>>,
    /// Bit `n` is set when some name is `n` bytes long: most headers are passed over by this one test.
    lengths: u64,
}

impl IdentityHeaders {
    /// Takes the names in any spelling.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> IdentityHeaders {
        let mut set = IdentityHeaders::default();
        for name in names {
            let folded: Box<[u8]> = name.as_ref().bytes().map(fold).collect();
            set.lengths |= length_bit(folded.len());
            if !set.names.contains(&folded) {
                set.names.push(folded);
            }
        }
        set
    }

    /// Whether `name` is one of them, in any spelling.
    pub fn contains(&self, name: &str) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.names.iter().any(|folded| folds_to(name.as_bytes(), folded))
    }

    /// Removes every spelling of every name, and tells how many names were removed. Allocates only when it finds one.
    pub fn strip(&self, headers: &mut HeaderMap) -> usize {
        if self.names.is_empty() {
            return 0;
        }
        strip_where(headers, |name| self.contains(name))
    }
}

/// Removes the other spellings of `name`: when a script sets or removes a header, a client's `x_tenant` must not stand
/// beside the new `x-tenant`.
pub fn strip_other_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    let name = name.as_str().as_bytes();
    strip_where(headers, |other| {
        let other = other.as_bytes();
        other.len() == name.len() && other != name && other.iter().zip(name).all(|(a, b)| fold(*a) == fold(*b))
    });
}

/// Removes all headers whose name satisfies `unwanted`; gives the number of names removed.
pub(super) fn strip_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) -> usize {
    let mut removed = 0;
    // Starts again after each find: there are at most a hundred headers, and finds are rare and hostile.
    while let Some(name) = headers.keys().find(|name| unwanted(name.as_str())).cloned() {
        headers.remove(&name);
        removed += 1;
    }
    removed
}

/// Whether `name` is `folded` in some spelling; `folded` is lower case with `-` between words.
pub fn folds_to(name: &[u8], folded: &[u8]) -> bool {
    name.len() == folded.len() && name.iter().zip(folded).all(|(a, b)| fold(*a) == *b)
}

/// What CGI-like servers make of a byte of a name: letters lose their case, all else but digits becomes one character.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn every_spelling_goes_and_neighbours_stay() {
        let identity = IdentityHeaders::new(["X-User-ID", "x-user-email"]);
        let mut headers = HeaderMap::new();
        for name in [
            "x-user-id",
            "X_User_Id",
            "x.user.id",
            "x-user_id",
            "x~user!id",
            "X-USER-EMAIL",
            "x-user-idx",
            "x-user-i",
            "xx-user-id",
            "user-agent",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(&name, HeaderValue::from_static("1"));
            headers.append(&name, HeaderValue::from_static("2"));
        }
        assert_eq!(identity.strip(&mut headers), 6);
        let mut left: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["user-agent", "x-user-i", "x-user-idx", "xx-user-id"]);
    }

    #[test]
    fn other_spellings_go_and_the_name_itself_stays() {
        let mut headers = HeaderMap::new();
        for name in ["x-tenant", "x_tenant", "X.Tenant", "x-tenants", "xatenant"] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_static("1"));
        }
        strip_other_spellings(&mut headers, &HeaderName::from_static("x-tenant"));
        let mut left: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-tenant", "x-tenants", "xatenant"]);
    }

    #[test]
    fn an_empty_set_removes_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user-id", HeaderValue::from_static("1"));
        assert_eq!(IdentityHeaders::default().strip(&mut headers), 0);
        assert_eq!(headers.len(), 1);
    }
}
