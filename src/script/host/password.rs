//! `crypto.verify_password` and `crypto.hash_password`: the two functions of `crypto` that take long on purpose.
//!
//! The work is done on a thread of its own, few at once, and its result is remembered for a short time ([`Verdicts`]), so that
//! neither a worker nor each request pays for it. The functions' entries in the list are `crypto`'s.

use crate::{
    crypto::{
        digest::{Hash, random},
        password::{self, NotStored, Stored},
    },
    script::{Raise, Reply, Scope, Value, list::Outcome, value::Args},
    store::{Crowded, Verdicts},
};
use http::{HeaderValue, StatusCode, header};
use std::sync::Arc;

pub fn verify(scope: &Scope, args: &Args) -> Outcome {
    let prepared = || {
        let (given, stored) = (args.bytes(0)?, args.bytes(1)?);
        let text = std::str::from_utf8(&stored).map_err(|_| wrong(NotStored::Form))?;
        let parsed = Stored::parse(text).map_err(wrong)?;
        let verdicts = scope.services.store.verdicts().clone();
        let secret = verdicts.secret(|| {
            let bytes = random(32).map_err(|error| Raise::error(error.to_string()))?;
            <[u8; 32]>::try_from(bytes).map_err(|_| Raise::error("crypto: the system gave no random bytes"))
        })?;
        // The length keeps `ab` with `c` from meaning `a` with `bc`.
        let length = stored.len().to_be_bytes();
        let key = Hash::Sha256.hmac(secret, &[&length[..], &stored, &given].concat());
        Ok((given, parsed, verdicts, key))
    };
    match prepared() {
        Err(raise) => Outcome::Done(Err(raise)),
        Ok((given, stored, verdicts, key)) => match verdicts.known(&key) {
            Some(is_right) => is_right.into(),
            None => Outcome::wait(async move {
                let permit = verdicts.turn().await.map_err(busy)?;
                // Whoever waited beside this one may have asked the same.
                if let Some(is_right) = verdicts.known(&key) {
                    return Ok(is_right.into());
                }
                let remember: Arc<Verdicts> = verdicts.clone();
                let work = move || {
                    let is_right = stored.is(&given);
                    remember.remember(&key, is_right);
                    // Not before: a client that goes away must not make room for the next while this still runs.
                    drop(permit);
                    is_right
                };
                tokio::task::spawn_blocking(work).await.map(Value::from).map_err(failed)
            }),
        },
    }
}

pub fn hash(scope: &Scope, args: &Args) -> Outcome {
    let verdicts = scope.services.store.verdicts().clone();
    let prepared = || {
        let iterations = password::iterations(args.int_or(1, i64::from(password::ITERATIONS))?).map_err(wrong)?;
        Ok((args.bytes(0)?, iterations))
    };
    match prepared() {
        Err(raise) => Outcome::Done(Err(raise)),
        Ok((given, iterations)) => Outcome::wait(async move {
            let permit = verdicts.turn().await.map_err(busy)?;
            let work = move || {
                let stored = password::store(&given, iterations);
                drop(permit);
                stored
            };
            let stored = tokio::task::spawn_blocking(work).await.map_err(failed)?;
            stored.map(Value::text).map_err(|error| Raise::error(error.to_string()))
        }),
    }
}

fn wrong(error: NotStored) -> Raise {
    Raise::error(error.to_string())
}

fn failed(error: tokio::task::JoinError) -> Raise {
    Raise::error(format!("the password could not be worked on: {error}"))
}

/// SECURITY: too many at once is no verdict: the request is refused, and may come again.
fn busy(_: Crowded) -> Raise {
    let reply = Reply::problem(StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked");
    Raise::Reply(Box::new(reply.header(header::RETRY_AFTER, HeaderValue::from_static("1"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{scope, show},
    };
    use std::rc::Rc;

    async fn done(outcome: Outcome) -> String {
        let result = match outcome {
            Outcome::Done(result) => result,
            Outcome::Wait(waiting) => waiting.await,
        };
        show(result.map_err(|raise| raise.to_string()))
    }

    async fn verified(scope: &Rc<Scope>, given: &str, stored: &str) -> String {
        done(verify(scope, &Args(vec![given.into(), stored.into()]))).await
    }

    #[tokio::test]
    async fn what_was_hashed_is_verified_and_then_known() {
        let scope = scope(Hook::OnLoad, None);
        let stored = done(hash(&scope, &Args(vec!["secret".into(), 1000.into()]))).await;
        let stored = stored.trim_matches('"');
        for _ in 0..2 {
            assert_eq!(verified(&scope, "secret", stored).await, "true");
            assert_eq!(verified(&scope, "other", stored).await, "false");
        }
        let known = verify(&scope, &Args(vec!["secret".into(), stored.into()]));
        assert!(matches!(known, Outcome::Done(Ok(Value::Bool(true)))), "at once");
    }

    #[tokio::test]
    async fn what_can_not_be_is_an_error() {
        let scope = scope(Hook::OnLoad, None);
        let form = "error: a stored password is written `$pbkdf2-sha256$i=ITERATIONS$SALT$HASH`";
        assert_eq!(verified(&scope, "secret", "secret").await, form);
        let hashed = done(hash(&scope, &Args(vec!["secret".into(), 0.into()]))).await;
        assert_eq!(hashed, "error: 0 iterations are not between 1 and 10000000");
    }
}
