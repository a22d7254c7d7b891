//! A generation and what it consists of: routes, plugins and their places, chains of hooks.
//!
//! [`generation`] is what was checked and is shared by all; [`prepared`] is what runs, one for each worker. Nothing here
//! touches a socket or a request's body.

pub mod documents;
pub mod files;
pub mod generation;
pub mod plugins;
pub mod prepared;
pub mod quarantine;
pub mod router;
pub mod tls;
pub mod upstream_tls;
