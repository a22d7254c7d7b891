//! What a verifier decides by: keys that are configured or [`published`](super::published), and what a token must fulfil.

use super::{
    bytes_of,
    published::{Fetching, Published, Why},
    text_of, unusable,
};
use crate::{
    crypto::jwt::{self, Claims, JwtError, Verifier, VerifyKey, VerifyOptions},
    script::{Raise, Scope, Value, host::option, list::Outcome, value::duration},
};
use std::{rc::Rc, time::Duration};

/// What a verifier does: its keys are configured or published.
pub struct Rules {
    verifier: Verifier,
    keys: Option<Keys>,
}

/// Published keys, and how old they may be.
pub struct Keys {
    pub published: Rc<Published>,
    max_age: Duration,
    max_stale: Duration,
}

pub enum Refused {
    Token(JwtError),
    /// Nobody can tell whether the token is good.
    Keys,
}

pub type Verified = Result<Rc<Claims>, Refused>;

impl Keys {
    pub fn at(scope: &Scope, url: &str, options: &Value) -> Result<Keys, Raise> {
        let published = Published::at(scope, url)?;
        let max_age = duration(option(options, "max_age"))?.unwrap_or(Duration::from_secs(600));
        let max_stale = duration(option(options, "max_stale"))?.unwrap_or(Duration::from_secs(24 * 3600));
        Ok(Keys { published, max_age, max_stale })
    }

    /// Those that can still be used. Others are on their way when these are old.
    pub fn usable(&self, scope: Option<&Scope>) -> Option<Rc<jwt::KeySet>> {
        let (keys, age) = self.published.keys()?;
        if let (true, Some(scope)) = (age > self.max_age, scope) {
            self.published.fetch(scope, Why::Old);
        }
        (age <= self.max_stale).then_some(keys)
    }
}

impl Rules {
    /// Those that the options of `jwt.verifier` say.
    pub fn of(scope: &Scope, options: &Value) -> Result<Rc<Rules>, Raise> {
        let mut keys = Vec::new();
        keys.extend(bytes_of(options, "secret").map(VerifyKey::Secret));
        keys.extend(text_of(options, "secret_base64").map(VerifyKey::SecretBase64));
        keys.extend(one_or_more(options, "public_key")?.into_iter().map(VerifyKey::PublicPem));
        let names = match option(options, "algorithms") {
            Value::List(names) => &names[..],
            _ => &[],
        };
        let algorithms = names.iter().map(|name| jwt::algorithm(name.as_str().unwrap_or_default()));
        let algorithms = algorithms.collect::<Result<_, _>>().map_err(unusable)?;
        let mut wanted = VerifyOptions::new(keys, algorithms);
        wanted.issuers = one_or_more(options, "issuer")?;
        wanted.audiences = one_or_more(options, "audience")?;
        wanted.leeway = duration(option(options, "leeway"))?.unwrap_or_default().as_secs_f64().ceil() as u64;
        wanted.require_exp = !matches!(option(options, "require_exp"), Value::Bool(false));
        let url = option(options, "jwks").as_str();
        let keys = url.map(|url| Keys::at(scope, url, options)).transpose()?;
        let verifier = if keys.is_some() { Verifier::of_set(wanted) } else { Verifier::new(wanted) };
        Ok(Rc::new(Rules { verifier: verifier.map_err(unusable)?, keys }))
    }

    /// What is known of a token now; or what must be fetched first.
    fn judge(&self, scope: &Scope, token: &str) -> Result<Verified, Fetching> {
        let now = scope.services.since_1970().as_secs();
        let Some(keys) = &self.keys else {
            return Ok(self.verifier.verify(token, now).map_err(Refused::Token));
        };
        let usable = keys.usable(Some(scope));
        self.verifier.trust(usable.as_ref());
        let why = if usable.is_some() { Why::Unknown } else { Why::Absent };
        match self.verifier.verify(token, now) {
            Err(JwtError::UnknownKey) => keys.published.fetch(scope, why).map_or_else(|| Ok(self.unknown(keys)), Err),
            known => Ok(known.map_err(Refused::Token)),
        }
    }

    /// The same when all that can be fetched has been.
    fn judge_again(&self, token: &str, now: u64) -> Verified {
        let Some(keys) = &self.keys else { return Err(Refused::Keys) };
        self.verifier.trust(keys.usable(None).as_ref());
        match self.verifier.verify(token, now) {
            Err(JwtError::UnknownKey) => self.unknown(keys),
            known => known.map_err(Refused::Token),
        }
    }

    /// A key that is not there says something of the token only where the keys are the issuer's latest.
    fn unknown(&self, keys: &Keys) -> Verified {
        let are_latest = keys.usable(None).is_some() && !keys.published.failed();
        Err(if are_latest { Refused::Token(JwtError::UnknownKey) } else { Refused::Keys })
    }
}

/// Says what came of a token, at once or when keys have been fetched.
pub fn decide(scope: &Scope, rules: &Rc<Rules>, token: &str, say: fn(Verified) -> Value) -> Outcome {
    let fetching = match rules.judge(scope, token) {
        Ok(verified) => return say(verified).into(),
        Err(fetching) => fetching,
    };
    let (rules, token, services) = (rules.clone(), token.to_owned(), scope.services.clone());
    Outcome::wait(async move {
        fetching.await;
        Ok(say(rules.judge_again(&token, services.since_1970().as_secs())))
    })
}

/// A string or a list of strings.
fn one_or_more(options: &Value, name: &str) -> Result<Vec<String>, Raise> {
    let wrong = || Raise::error(format!("`{name}` is not a string or a list of strings"));
    let text = match option(options, name) {
        Value::Nil => return Ok(Vec::new()),
        Value::Json(text) => text,
        _ => return Err(wrong()),
    };
    match serde_json::from_slice(text).map_err(|_| wrong())? {
        serde_json::Value::Null => Ok(Vec::new()),
        serde_json::Value::String(one) => Ok(vec![one]),
        // An empty table of Lua is an object. An empty list must not mean that anything goes.
        serde_json::Value::Array(items) if !items.is_empty() => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong));
            texts.collect()
        }
        _ => Err(wrong()),
    }
}
