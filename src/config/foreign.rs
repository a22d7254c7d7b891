//! Documents in YAML or JSON that are not the gateway's own, such as an OpenAPI document: a tree with places, nothing expanded.
//!
//! JSON is read as the YAML that it is, so that one parser says where mistakes are. What the document means is its readers'.

use super::diagnostic::Diagnostics;
use super::node::Node;
use super::source::Source;
use super::yaml;
use std::sync::Arc;

/// The document in `source`; nothing when there is none, which is then reported.
pub fn foreign(source: &Arc<Source>, diagnostics: &mut Diagnostics) -> Option<Node> {
    let mut own = Diagnostics::new();
    let root = yaml::parse_foreign(source, &mut own);
    if root.as_ref().is_none_or(Node::is_null) && !own.has_errors() {
        own.error(&source.span(0..0), "the file is empty");
    }
    let is_readable = !own.has_errors();
    diagnostics.extend(own);
    root.filter(|_| is_readable)
}
