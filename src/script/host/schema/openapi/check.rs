//! A request, held against an [`Api`].
//!
//! Every violation is listed with the part of the request that it is in, up to a limit, so that a client mends all of them at
//! once. What ends the look at once has a status of its own: an unknown path, a method that the path hasn't, a body that is missing,
//! of another type, or not readable.

use super::{
    super::{
        compiled::{self, Violation},
        strict::Strict,
    },
    Api, Body, Content, Operation, media,
    parameter::{Place, Reader, Style},
    paths::{base_segments, segments},
};
use crate::http::query;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// What of a request is looked at besides its body.
pub struct Request {
    pub method: String,
    /// Percent-encoded.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub cookies: Vec<(String, String)>,
}

/// The operation that a request is of, or why there is none.
pub enum Found<'a> {
    Operation(Matched<'a>),
    NoPath,
    /// The methods that the path has, for `Allow`.
    NoMethod(String),
}

pub struct Matched<'a> {
    operation: &'a Operation,
    values: Vec<(&'a str, String)>,
}

/// Why a body is not looked at any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Missing,
    Type,
    Unreadable,
}

/// A violation and the part of the request that it is in.
pub type Placed = (&'static str, Violation);

impl Api {
    /// `base`: the path that all of it is served under, in place of those of its servers.
    pub fn find(&self, request: &Request, base: Option<&str>) -> Found<'_> {
        let path = segments(&request.path);
        let own = base.map(|base| vec![base_segments(base)]);
        let mut allow: Vec<&str> = Vec::new();
        for base in own.as_ref().unwrap_or(&self.bases) {
            let Some(rest) = path.strip_prefix(base.as_slice()) else { continue };
            for candidate in self.paths.get(&rest.len()).into_iter().flatten() {
                if own.is_none() && !candidate.bases.contains(base) {
                    continue;
                }
                let Some(values) = candidate.template.matches(rest) else { continue };
                let of = |method: &str| candidate.operations.get(method);
                // RFC 9110 §9.3.2: HEAD is GET without the content.
                let head = || of("GET").filter(|_| request.method == "HEAD");
                if let Some(operation) = of(&request.method).or_else(head) {
                    return Found::Operation(Matched { operation, values });
                }
                allow.extend(candidate.operations.keys().map(String::as_str));
                if candidate.operations.contains_key("GET") {
                    allow.push("HEAD");
                }
            }
        }
        if allow.is_empty() {
            return Found::NoPath;
        }
        allow.sort_unstable();
        allow.dedup();
        Found::NoMethod(allow.join(", "))
    }
}

impl Matched<'_> {
    /// Whether the operation says anything about a body.
    pub fn has_body(&self) -> bool {
        self.operation.body.is_some()
    }

    /// What is wrong with the parameters.
    pub fn parameters(&self, request: &Request, most: usize) -> Vec<Placed> {
        let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query::pairs(&request.query).collect();
        let mut found = Vec::new();
        for reader in &self.operation.parameters {
            let parameter = &reader.parameter;
            let place = parameter.place.as_str();
            let is_spread = parameter.style == Style::Exploded && reader.kinds.object && !reader.kinds.list;
            if parameter.style == Style::Deep || is_spread {
                let of_query = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
                let of_cookies = request.cookies.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let value = match (is_spread, parameter.place) {
                    (true, Place::Cookie) => reader.read_spread(of_cookies),
                    (true, _) => reader.read_spread(of_query),
                    (false, _) => reader.read_deep(of_query),
                };
                found.extend(reader.deep(value, most).into_iter().map(|violation| (place, violation)));
            } else {
                let texts = match parameter.place {
                    Place::Path => texts_of(&self.values, &parameter.name),
                    Place::Query => texts_of(&pairs, &parameter.name),
                    Place::Header => texts_of(&request.headers, &parameter.name),
                    Place::Cookie => texts_of(&request.cookies, &parameter.name),
                };
                found.extend(reader.violations(&texts, most).into_iter().map(|violation| (place, violation)));
            }
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        found
    }

    /// What is wrong with the body. `kinds`: all values of Content-Type.
    pub fn body(&self, kinds: &[&str], bytes: &[u8], most: usize) -> Result<Vec<Placed>, Refused> {
        let Some(body) = &self.operation.body else { return Ok(Vec::new()) };
        if bytes.is_empty() {
            return if body.required { Err(Refused::Missing) } else { Ok(Vec::new()) };
        }
        let kind = match kinds {
            [] => String::new(),
            [one] => media::essence(one),
            // SECURITY: a backend may read the other one.
            _ => return Err(Refused::Type),
        };
        let content = body.of(&kind).ok_or(Refused::Type)?;
        if media::is_json(&kind) {
            return match serde_json::from_slice::<Strict>(bytes) {
                Ok(Strict(document)) => Ok(content.violations(&document, bytes.len(), most)),
                Err(error) => Ok(vec![("body", compiled::malformed(&error))]),
            };
        }
        if media::is_form(&kind) {
            let text = std::str::from_utf8(bytes).map_err(|_| Refused::Unreadable)?;
            return Ok(content.violations(&content.form(text), bytes.len(), most));
        }
        Ok(Vec::new())
    }
}

fn texts_of<'r>(list: &'r [(impl AsRef<str>, impl AsRef<str>)], name: &str) -> Vec<&'r str> {
    list.iter().filter(|(own, _)| own.as_ref() == name).map(|(_, value)| value.as_ref()).collect()
}

impl Body {
    fn of(&self, kind: &str) -> Option<&Content> {
        let fits = self.content.iter().filter_map(|(range, content)| Some((media::fit(range, kind)?, content)));
        // Of equals the first.
        fits.rev().max_by_key(|(fit, _)| *fit).map(|(_, content)| content)
    }
}

impl Content {
    fn violations(&self, document: &Json, size: usize, most: usize) -> Vec<Placed> {
        let found = self.reader.validator.as_ref().map(|schema| compiled::violations(schema, document, size, most));
        found.into_iter().flatten().map(|violation| ("body", violation)).collect()
    }

    /// The object that a form stands for: what the schema calls a list is one.
    fn form(&self, text: &str) -> Json {
        let mut object: Map<String, Json> = Map::new();
        for (name, value) in query::pairs(text) {
            let property = self.reader.properties.iter().find(|(own, ..)| *own == name);
            let kinds = property.map(|(_, kinds, _)| *kinds).unwrap_or_default();
            let is_list = kinds.list;
            let value =
                if is_list { property.map(|(.., items)| *items).unwrap_or_default() } else { kinds }.read(&value);
            match object.get_mut(name.as_ref()) {
                None => {
                    object.insert(name.into_owned(), if is_list { Json::Array(vec![value]) } else { value });
                }
                Some(Json::Array(items)) => items.push(value),
                // Two values where one is expected stay two, and are no number or text.
                Some(first) => *first = Json::Array(vec![first.take(), value]),
            }
        }
        Json::Object(object)
    }
}

impl Reader {
    fn violations(&self, texts: &[&str], most: usize) -> Vec<Violation> {
        let parameter = &self.parameter;
        if texts.is_empty() {
            return self.absent();
        }
        if parameter.may_be_empty && texts == [""] {
            return Vec::new();
        }
        let value = match self.read(texts) {
            Ok(Some(value)) => value,
            Ok(None) => return Vec::new(),
            Err(message) => return vec![self.violation("type", message)],
        };
        let found = self.held(&value, most);
        if found.is_empty() {
            return found;
        }
        // What may be a text or a number: it is fine if it is either.
        let other = match (self.kinds.without_string(), texts) {
            (Some(kinds), [one]) if value.is_string() => Some(kinds.read(one)),
            _ => None,
        };
        match other {
            Some(other) if !other.is_string() && self.held(&other, 1).is_empty() => Vec::new(),
            _ => found,
        }
    }

    fn deep(&self, value: Option<Json>, most: usize) -> Vec<Violation> {
        match value {
            Some(value) => self.held(&value, most),
            // All of its properties may be left out, unless its schema says otherwise.
            None if self.parameter.required && self.parameter.style == Style::Exploded => {
                self.held(&Json::Object(Map::new()), most)
            }
            None => self.absent(),
        }
    }

    fn absent(&self) -> Vec<Violation> {
        match self.parameter.required {
            true => vec![self.violation("required", "the parameter is required")],
            false => Vec::new(),
        }
    }

    fn held(&self, value: &Json, most: usize) -> Vec<Violation> {
        let Some(validator) = &self.validator else { return Vec::new() };
        let found = compiled::violations(validator, value, 0, most);
        let placed = |violation: Violation| {
            let pointer = format!("{}{}", self.pointer, violation.pointer);
            Violation { pointer, ..violation }
        };
        found.into_iter().map(placed).collect()
    }

    fn violation(&self, keyword: &str, message: &str) -> Violation {
        Violation { pointer: self.pointer.clone(), keyword: keyword.to_owned(), message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests;
