//! Certificates: an authority for one test and what it issues, as PEM.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

/// Issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key.
pub struct Issued {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = named(&[(DnType::CommonName, name)]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, new_key()).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server of these names.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue(names, &[(DnType::CommonName, "a server")])
    }

    /// For a client called that, of an organisation.
    pub fn client(&self, name: &str, organisation: &str) -> Issued {
        self.issue(&[], &[(DnType::OrganizationName, organisation), (DnType::CommonName, name)])
    }

    fn issue(&self, names: &[&str], subject: &[(DnType, &str)]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = named(subject);
        let key = new_key();
        let cert = params.signed_by(&key, &self.0).expect("a certificate").pem();
        Issued { cert, key: key.serialize_pem() }
    }
}

fn named(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
