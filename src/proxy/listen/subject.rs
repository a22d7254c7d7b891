//! The subject of a client's certificate as text (RFC 4514), for scripts.
//!
//! Written here since what x509-parser writes is for people: it escapes nothing, so that an organisation called
//! `x, CN=admin` would read as two attributes.

use std::fmt::Write;
use x509_parser::{
    asn1_rs::ToDer,
    x509::{AttributeTypeAndValue, X509Name},
};

/// Short names of RFC 4514 §3; all other types are written by number.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate in DER; none when it can't be read.
pub fn of(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(text(certificate.subject()))
}

/// The last part first (§2.1).
fn text(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let part = |part: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        part.iter().map(attribute).collect::<Vec<_>>().join("+")
    };
    parts.iter().rev().map(part).collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(oid, _)| *oid == number).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => format!("{short}={}", escaped(value)),
        // A value without a text of its own, and one of a type without a name, is its encoding (§2.4).
        (short, _) => {
            let der = attribute.attr_value().to_der_vec().unwrap_or_default();
            let mut text = format!("{}=#", short.unwrap_or(&number));
            for byte in der {
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
    }
}

/// §2.4; control characters too, which the RFC leaves as they are: the text may end in a header.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\{:02X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_pass_for_attributes() {
        for (value, expected) in [
            ("shop", "shop"),
            ("x, CN=admin", "x\\, CN=admin"),
            ("a+b;c\"<>\\", "a\\+b\\;c\\\"\\<\\>\\\\"),
            (" padded ", "\\ padded\\ "),
            ("#1", "\\#1"),
            ("a\r\nb", "a\\0D\\0Ab"),
            ("Straße", "Straße"),
        ] {
            assert_eq!(escaped(value), expected, "{value:?}");
        }
    }

    #[test]
    fn the_last_part_comes_first() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Shop, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, "till-1");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(of(certificate.der()).unwrap(), "CN=till-1,O=Shop\\, Inc.");
        assert_eq!(of(b"not a certificate"), None);
    }
}
