//! A whole service by its OpenAPI document, 3.0 or 3.1: which operation a request is of, and what is wrong with it.
//!
//! The document comes whole, with the files that it refers to inside of it ([`FILES`]); nothing here could read one. It is compiled
//! once and shared by all workers: [`translate`] makes one JSON Schema of its schemas, [`paths`] finds the operation, [`parameter`]
//! and [`media`] say how texts and bodies are read, [`check`] holds a request against all that. Security schemes and responses are
//! other plugins' business.

mod check;
mod media;
mod parameter;
mod paths;
mod translate;

pub use check::{Found, Matched, Placed, Refused, Request};

use super::compiled::{self, SIZE};
use jsonschema::{Registry, Validator};
use parameter::{Parameter, Reader};
use paths::{Template, base_segments};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use translate::{Schemas, Translated, Version, escaped, find};

/// The member of a document under which the files stand that it refers to, as a list.
pub const FILES: &str = "x-gateway-files";

/// Operations of one document.
const MOST: usize = 5_000;
const URI: &str = "gateway:///openapi";
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A mistake in a document and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// A JSON pointer; through [`FILES`] where it is in another file.
    pub pointer: String,
    pub message: String,
}

impl Wrong {
    pub fn at(pointer: &str, message: impl Into<String>) -> Wrong {
        Wrong { pointer: pointer.to_owned(), message: message.into() }
    }
}

/// A document, ready to hold requests against.
pub struct Api {
    /// By the number of segments, the more definite first.
    paths: HashMap<usize, Vec<Path>>,
    /// The paths of all servers, in segments, the longest first.
    bases: Vec<Vec<String>>,
}

struct Path {
    template: Template,
    /// Those of the servers that it is on.
    bases: Vec<Vec<String>>,
    /// By method, in upper case.
    operations: BTreeMap<String, Operation>,
}

struct Operation {
    parameters: Vec<Reader>,
    body: Option<Body>,
}

struct Body {
    required: bool,
    /// By the media type or range, in lower case and without parameters, in the order written.
    content: Vec<(String, Content)>,
}

/// A body's schema.
struct Content {
    /// How the fields of a form are read.
    reader: Reader,
}

/// An operation as written: its schemas have numbers and are not compiled yet.
struct Draft {
    parameters: Vec<Parameter>,
    required: bool,
    content: Option<Vec<(String, Parameter)>>,
}

impl Api {
    /// Compiles a document; or all that is wrong with it.
    pub fn compile(document: &Json) -> Result<Api, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let Some(version) = version(document, &mut wrong) else { return Err(wrong) };
        let mut schemas = Schemas::new(document, version);
        let mut drafts = Vec::new();
        match document.get("paths") {
            Some(Json::Object(paths)) => {
                for (name, written) in paths.iter().filter(|(name, _)| !name.starts_with("x-")) {
                    let pointer = format!("/paths/{}", escaped(name));
                    let item = followed(document, &pointer, written, &mut wrong);
                    let bases = bases(document, item.1);
                    let operations = operations(document, &item, &mut schemas, &mut wrong);
                    drafts.push((name, pointer, bases, operations));
                }
            }
            // 3.1 allows a document without any; nothing could be validated by it.
            _ => wrong.push(Wrong::at("", "there are no `paths`")),
        }
        if drafts.iter().map(|(.., operations)| operations.len()).sum::<usize>() > MOST {
            wrong.push(Wrong::at("/paths", format!("there are more than {MOST} operations")));
        }
        let used = schemas.len();
        let translated = schemas.finish(&mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let validators = validators(&translated, used)?;
        let mut api = Api { paths: HashMap::new(), bases: Vec::new() };
        for (name, pointer, bases, operations) in drafts {
            let ready = |draft: Draft| draft.ready(&translated.whole, &validators);
            let operations = operations.into_iter().map(|(method, draft)| (method, ready(draft))).collect();
            match Template::parse(name) {
                Ok(template) => api.add(Path { template, bases, operations }),
                Err(message) => wrong.push(Wrong::at(&pointer, message)),
            }
        }
        api.bases.sort_by_key(|base| std::cmp::Reverse(base.len()));
        for paths in api.paths.values_mut() {
            paths.sort_by(|a, b| a.template.cmp(&b.template));
        }
        if wrong.is_empty() { Ok(api) } else { Err(wrong) }
    }

    fn add(&mut self, path: Path) {
        let new = path.bases.iter().filter(|base| !self.bases.contains(base)).cloned().collect::<Vec<_>>();
        self.bases.extend(new);
        self.paths.entry(path.template.length()).or_default().push(path);
    }
}

impl Draft {
    fn ready(self, whole: &Json, validators: &[Arc<Validator>]) -> Operation {
        let reader = |parameter: Parameter| {
            let validator = parameter.schema.and_then(|number| validators.get(number)).cloned();
            Reader::new(parameter, whole, validator)
        };
        let content = |all: Vec<(String, Parameter)>| {
            all.into_iter()
                .map(|(kind, parameter)| (media::essence(&kind), Content { reader: reader(parameter) }))
                .collect()
        };
        Operation {
            body: self.content.map(|all| Body { required: self.required, content: content(all) }),
            parameters: self.parameters.into_iter().map(reader).collect(),
        }
    }
}

fn version(document: &Json, wrong: &mut Vec<Wrong>) -> Option<Version> {
    let text = document.get("openapi").and_then(Json::as_str);
    match text {
        Some(text) if text.starts_with("3.0.") => Some(Version::V30),
        Some(text) if text.starts_with("3.1.") => Some(Version::V31),
        Some(other) => {
            let message = format!("OpenAPI `{}` is not supported: 3.0 and 3.1 are", other.escape_debug());
            wrong.push(Wrong::at("/openapi", message));
            None
        }
        None if document.get("swagger").is_some() => {
            wrong.push(Wrong::at("/swagger", "Swagger 2.0 is not supported: OpenAPI 3.0 and 3.1 are"));
            None
        }
        None => {
            wrong.push(Wrong::at("", "this is no OpenAPI document: it has no `openapi: 3.…`"));
            None
        }
    }
}

/// What stands at a place, through a `$ref`; with the place it led to.
fn followed<'d>(document: &'d Json, pointer: &str, written: &'d Json, wrong: &mut Vec<Wrong>) -> (String, &'d Json) {
    let mut place = (pointer.to_owned(), written);
    for _ in 0..16 {
        let Some(target) = place.1.get("$ref") else { return place };
        match find(document, target) {
            Ok(found) => {
                let value = document.pointer(&found).unwrap_or(&Json::Null);
                place = (found, value);
            }
            Err(message) => {
                wrong.push(Wrong::at(&format!("{}/$ref", place.0), message));
                return (place.0, &Json::Null);
            }
        }
    }
    wrong.push(Wrong::at(pointer, "this refers to itself"));
    (pointer.to_owned(), &Json::Null)
}

/// The paths of the servers of a path item, or of the document (§4.8.5).
fn bases(document: &Json, item: &Json) -> Vec<Vec<String>> {
    let servers = |of: &Json| of.get("servers").and_then(Json::as_array).filter(|servers| !servers.is_empty()).cloned();
    let Some(servers) = servers(item).or_else(|| servers(document)) else {
        return vec![Vec::new()];
    };
    let mut all: Vec<Vec<String>> = servers.iter().map(|server| base_segments(&base(server))).collect();
    all.sort();
    all.dedup();
    all
}

fn base(server: &Json) -> String {
    let mut url = server.get("url").and_then(Json::as_str).unwrap_or_default().to_owned();
    for (name, variable) in server.get("variables").and_then(Json::as_object).into_iter().flatten() {
        let default = variable.get("default").and_then(Json::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => &url,
    };
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn operations(
    document: &Json,
    (pointer, item): &(String, &Json),
    schemas: &mut Schemas<'_>,
    wrong: &mut Vec<Wrong>,
) -> Vec<(String, Draft)> {
    let mut all = Vec::new();
    for method in METHODS {
        let Some(written) = item.get(method) else { continue };
        let place = format!("{pointer}/{method}");
        let mut parameters = parameters(document, &place, written, schemas, wrong);
        for shared in self::parameters(document, pointer, item, schemas, wrong) {
            let is_own = parameters.iter().any(|own| own.name == shared.name && own.place == shared.place);
            if !is_own {
                parameters.push(shared);
            }
        }
        let body = written.get("requestBody");
        let body = body.map(|body| followed(document, &format!("{place}/requestBody"), body, wrong));
        let required = body.as_ref().and_then(|(_, body)| body.get("required")).and_then(Json::as_bool);
        let content = body.map(|(pointer, body)| content(&pointer, body, schemas));
        all.push((method.to_ascii_uppercase(), Draft { parameters, required: required.unwrap_or(false), content }));
    }
    all
}

fn parameters(
    document: &Json,
    pointer: &str,
    of: &Json,
    schemas: &mut Schemas<'_>,
    wrong: &mut Vec<Wrong>,
) -> Vec<Parameter> {
    let written = of.get("parameters").and_then(Json::as_array).into_iter().flatten().enumerate();
    written
        .filter_map(|(index, written)| {
            let (pointer, written) = followed(document, &format!("{pointer}/parameters/{index}"), written, wrong);
            if written.is_null() { None } else { Parameter::parse(written, &pointer, schemas, wrong) }
        })
        .collect()
}

/// By media type, each as if it were a parameter: a form's fields are read as those are.
fn content(pointer: &str, body: &Json, schemas: &mut Schemas<'_>) -> Vec<(String, Parameter)> {
    let written = body.get("content").and_then(Json::as_object).into_iter().flatten();
    let all = written.map(|(kind, media)| {
        let below = || format!("{pointer}/content/{}/schema", escaped(kind));
        let schema = media.get("schema").map(|_| schemas.number(&below()));
        (kind.clone(), Parameter::of_body(schema))
    });
    all.collect()
}

/// One for each of the first schemas, those that operations use; the others are reached from them.
fn validators(translated: &Translated, used: usize) -> Result<Vec<Arc<Validator>>, Vec<Wrong>> {
    let meta = jsonschema::draft202012::meta::validator();
    let wrong: Vec<Wrong> = meta
        .iter_errors(&translated.whole)
        .take(20)
        .map(|error| Wrong::at(&translated.place(error.instance_path().as_str()), compiled::cut(&error.to_string())))
        .collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let failed = |error: jsonschema::ReferencingError| vec![Wrong::at("", compiled::cut(&error.to_string()))];
    let registry = Registry::new().draft(jsonschema::Draft::Draft202012);
    let registry = registry.add(URI, &translated.whole).map_err(failed)?.prepare().map_err(failed)?;
    let options = compiled::options().should_ignore_unknown_formats(true).with_registry(&registry);
    let build = |number: usize| options.build(&serde_json::json!({ "$ref": format!("{URI}#/$defs/{number}") }));
    let built: Result<Vec<_>, _> = (0..used).map(|number| build(number).map(Arc::new)).collect();
    built.map_err(|_| {
        // A schema fails with those that it refers to, which come after it: the last one is to blame.
        let mut last: BTreeMap<String, &str> = BTreeMap::new();
        for (number, pointer) in translated.pointers.iter().enumerate() {
            if let Err(error) = build(number) {
                last.insert(compiled::cut(&error.to_string()), pointer);
            }
        }
        last.into_iter().map(|(message, pointer)| Wrong::at(pointer, message)).collect()
    })
}

/// A document as text, as scripts give it.
pub fn parse(text: &[u8]) -> Result<Api, String> {
    if text.len() > SIZE {
        return Err(format!("the document is longer than {SIZE} bytes"));
    }
    let document: Json = serde_json::from_slice(text).map_err(|error| format!("the document: {error}"))?;
    Api::compile(&document).map_err(|wrong| {
        let one = |wrong: &Wrong| match wrong.pointer.as_str() {
            "" => format!("the document: {}", wrong.message),
            pointer => format!("the document at `{pointer}`: {}", wrong.message),
        };
        wrong.iter().take(5).map(one).collect::<Vec<_>>().join("; ")
    })
}
