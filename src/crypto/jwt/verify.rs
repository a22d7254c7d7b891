//! Verification: the algorithm is one that was configured, the signature matches, the claims hold at this moment.
//!
//! In this order, and nothing of the payload is read before its signature was found right. The moment is the caller's,
//! so that tests and fake clocks need nothing else. Built once, when a generation is.

use std::cell::RefCell;
use std::rc::Rc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::cache::Cache;
use super::keys::{KeyError, Usable, VerifyKey, asymmetric, usable};
use super::{Claims, JwtError, KeySet, Parts, part};

/// What a token must fulfil.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Any of them may have signed. They are tried in this order; `kid` is looked at with published keys alone.
    pub keys: Vec<VerifyKey>,
    /// The only algorithms that are accepted, whatever a token says (RFC 8725 §3.1).
    pub algorithms: Vec<Algorithm>,
    /// `iss` must be one of these; when there are none it is not looked at.
    pub issuers: Vec<String>,
    /// `aud` must be, or contain, one of these; when there are none it is not looked at.
    pub audiences: Vec<String>,
    /// Seconds by which the issuer's clock may differ from ours, for `exp` and `nbf`. Default 0: most libraries have 0, and
    /// some 60, which surprises whoever tests that a token expires.
    pub leeway: u64,
    /// Whether a token without `exp` is refused. Default true: such a token is valid for ever.
    pub require_exp: bool,
}

impl VerifyOptions {
    pub fn new(keys: Vec<VerifyKey>, algorithms: Vec<Algorithm>) -> Self {
        VerifyOptions { keys, algorithms, issuers: Vec::new(), audiences: Vec::new(), leeway: 0, require_exp: true }
    }
}

/// Verifies tokens and remembers those it has verified. One a worker: purposefully not `Sync`, because nothing is locked.
pub struct Verifier {
    options: VerifyOptions,
    keys: Keys,
    cache: RefCell<Cache>,
}

enum Keys {
    Configured(Vec<Usable>),
    /// None while there are none that can be trusted.
    Published(RefCell<Option<Rc<KeySet>>>),
}

/// A token whose signature, issuer and audience were right. Its times are judged anew at every use.
pub(super) struct Verified {
    pub claims: Rc<Claims>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Verifier {
    pub fn new(mut options: VerifyOptions) -> Result<Self, KeyError> {
        let keys = usable(&options.keys, &options.algorithms)?;
        // They are in `keys` now, in a form that is wiped when it is dropped.
        options.keys = Vec::new();
        Ok(Verifier { options, keys: Keys::Configured(keys), cache: RefCell::default() })
    }

    /// One whose keys are published, and come by [`Verifier::trust`].
    pub fn of_set(options: VerifyOptions) -> Result<Self, KeyError> {
        if !options.keys.is_empty() {
            return Err(KeyError::TwoSources);
        }
        asymmetric(&options.algorithms)?;
        Ok(Verifier { options, keys: Keys::Published(RefCell::default()), cache: RefCell::default() })
    }

    /// From now on these are the published keys. Tokens that others have verified are forgotten.
    pub fn trust(&self, set: Option<&Rc<KeySet>>) {
        let Keys::Published(trusted) = &self.keys else { return };
        let is_same = trusted.borrow().as_ref().map(Rc::as_ptr) == set.map(Rc::as_ptr);
        if !is_same {
            *trusted.borrow_mut() = set.cloned();
            self.cache.take();
        }
    }

    /// The claims of a token that is good at `now`, in seconds since 1970.
    pub fn verify(&self, token: &str, now: u64) -> Result<Rc<Claims>, JwtError> {
        let known = self.cache.borrow_mut().get(token);
        if let Some(verified) = known {
            let timely = self.check_times(&verified, now);
            if let Err(JwtError::Expired { .. }) = timely {
                self.cache.borrow_mut().remove(token);
            }
            return timely.map(|()| verified.claims.clone());
        }
        let verified = self.check(token)?;
        self.check_times(&verified, now)?;
        let verified = Rc::new(verified);
        let claims = verified.claims.clone();
        self.cache.borrow_mut().insert(token.into(), verified);
        Ok(claims)
    }

    /// Everything that stays true of a token.
    fn check(&self, token: &str) -> Result<Verified, JwtError> {
        let parts = Parts::split(token)?;
        let header = part(parts.header)?.values;
        let algorithm = self.algorithm(&header)?;
        if !self.is_signed(&parts, algorithm, &header)? {
            return Err(JwtError::BadSignature);
        }
        let claims = part(parts.payload)?;
        let verified = Verified {
            exp: numeric_date(&claims.values, "exp")?,
            nbf: numeric_date(&claims.values, "nbf")?,
            claims: Rc::new(claims),
        };
        let values = &verified.claims.values;
        // RFC 7519 §4.1.6 gives `iat` no rule but its type.
        numeric_date(values, "iat")?;
        if self.options.require_exp && verified.exp.is_none() {
            return Err(JwtError::MissingClaim("exp"));
        }
        self.check_issuer(values)?;
        self.check_audience(values)?;
        Ok(verified)
    }

    fn algorithm(&self, header: &Map<String, Value>) -> Result<Algorithm, JwtError> {
        if header.contains_key("crit") {
            return Err(JwtError::CritHeader);
        }
        if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(JwtError::UnencodedPayload);
        }
        let name = match header.get("alg") {
            Some(Value::String(name)) => name,
            _ => return Err(JwtError::Malformed("the header has no `alg`")),
        };
        let allowed = name.parse().ok();
        // The name is the client's: cut, and quoted where it is shown.
        let refused = || JwtError::AlgorithmNotAllowed(name.chars().take(32).collect());
        allowed.filter(|algorithm| self.options.algorithms.contains(algorithm)).ok_or_else(refused)
    }

    fn is_signed(
        &self,
        parts: &Parts<'_>,
        algorithm: Algorithm,
        header: &Map<String, Value>,
    ) -> Result<bool, JwtError> {
        let signed_by = |usable: &Usable| {
            let message = parts.message.as_bytes();
            usable.algorithms.contains(&algorithm)
                && jsonwebtoken::crypto::verify(parts.signature, message, &usable.key, algorithm).unwrap_or(false)
        };
        let published = match &self.keys {
            Keys::Configured(keys) => return Ok(keys.iter().any(signed_by)),
            Keys::Published(published) => published.borrow(),
        };
        let keys = &published.as_ref().ok_or(JwtError::UnknownKey)?.keys;
        match header.get("kid") {
            None => Ok(keys.iter().any(signed_by)),
            Some(Value::String(id)) => {
                let mut named = keys.iter().filter(|usable| usable.id.as_ref() == Some(id)).peekable();
                named.peek().ok_or(JwtError::UnknownKey)?;
                Ok(named.any(signed_by))
            }
            Some(_) => Err(JwtError::Malformed("`kid` is not a string")),
        }
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), JwtError> {
        let accepted = &self.options.issuers;
        match claims.get("iss") {
            _ if accepted.is_empty() => Ok(()),
            None => Err(JwtError::MissingClaim("iss")),
            Some(Value::String(issuer)) if accepted.contains(issuer) => Ok(()),
            Some(_) => Err(JwtError::WrongIssuer),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), JwtError> {
        let accepted = &self.options.audiences;
        let is_ours = |audience: &Value| match audience {
            Value::String(audience) => accepted.contains(audience),
            _ => false,
        };
        match claims.get("aud") {
            _ if accepted.is_empty() => Ok(()),
            None => Err(JwtError::MissingClaim("aud")),
            Some(Value::Array(audiences)) if audiences.iter().any(is_ours) => Ok(()),
            Some(audience) if is_ours(audience) => Ok(()),
            Some(_) => Err(JwtError::WrongAudience),
        }
    }

    /// RFC 7519 §4.1.4: the time must be *before* `exp`. §4.1.5: not before `nbf`.
    fn check_times(&self, verified: &Verified, now: u64) -> Result<(), JwtError> {
        let (seconds, leeway) = (now as f64, self.options.leeway as f64);
        if let Some(exp) = verified.exp.filter(|exp| seconds >= exp + leeway) {
            return Err(JwtError::Expired { exp, now });
        }
        if let Some(nbf) = verified.nbf.filter(|nbf| seconds + leeway < *nbf) {
            return Err(JwtError::NotYetValid { nbf, now });
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.cache.borrow().len()
    }
}

/// A NumericDate (RFC 7519 §2): seconds, which need not be whole. Present but of another type is an error, never absent.
fn numeric_date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, JwtError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(JwtError::NotANumber(name)),
    }
}
