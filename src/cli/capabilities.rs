//! What the plugins in use may reach, as `check` shows it.
//!
//! One entry for each script, however many routes use it; what its manifest grants is all that it may do beyond the exchange and
//! the gateway's own services.

use crate::{gateway::generation::Generation, script::scope::Permissions};
use std::fmt;

pub struct Used<'g> {
    name: &'g str,
    kind: &'static str,
    is_stock: bool,
    file: String,
    permissions: &'g Permissions,
    places: Vec<&'g str>,
}

/// In the order in which the configuration first names them.
pub fn used(generation: &Generation) -> Vec<Used<'_>> {
    let mut all: Vec<Used<'_>> = Vec::new();
    for place in &generation.places {
        let file = place.plugin.source.path().display().to_string();
        match all.iter_mut().find(|used| used.file == file && used.name == &*place.name) {
            Some(used) => used.places.push(&place.label),
            None => all.push(Used {
                name: &place.name,
                kind: place.plugin.manifest.kind.as_str(),
                is_stock: place.plugin.stock,
                file,
                permissions: &place.permissions,
                places: vec![&place.label],
            }),
        }
    }
    all
}

impl Used<'_> {
    pub fn to_json(&self) -> serde_json::Value {
        let Permissions { hosts, env, redis, redis_scripts, headers } = self.permissions;
        serde_json::json!({
            "name": self.name,
            "kind": self.kind,
            "stock": self.is_stock,
            "file": self.file,
            "places": self.places,
            "permissions": {
                "hosts": hosts,
                "env": env,
                // Absent where the script isn't held to any.
                "redis": (!redis.is_empty()).then_some(redis),
                "redis_scripts": redis.is_empty() || *redis_scripts,
                "headers": headers,
            },
        })
    }
}

impl fmt::Display for Used<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permissions { hosts, env, redis, redis_scripts, headers } = self.permissions;
        let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        let redis = match (redis.as_slice(), redis_scripts) {
            ([], _) => "any".to_owned(),
            (prefixes, true) => format!("{} and scripts", list(prefixes)),
            (prefixes, false) => list(prefixes),
        };
        let headers = headers.as_ref().map_or("any".to_owned(), |names| list(names));
        let stock = if self.is_stock { "stock, " } else { "" };
        let (places, s) = (self.places.len(), if self.places.len() == 1 { "" } else { "s" });
        write!(
            f,
            "  {} ({stock}{}, {places} place{s}): hosts {}; env {}; redis {redis}; headers {headers}",
            self.name,
            self.kind,
            list(hosts),
            list(env)
        )
    }
}
