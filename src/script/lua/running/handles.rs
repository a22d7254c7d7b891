//! The handles of a running hook: to the parts of its exchange, and to the answers of its calls.
//!
//! A handle is a userdata whose address is all that there is to it: whose it is stands here.

use super::Running;
use crate::script::{exchange::Side, host, object::Object};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// The places of the parts of the exchange: a hook has at most one handle of each.
pub const REQUEST: usize = 0;
pub const RESPONSE: usize = 1;
pub const CONTEXT: usize = 2;
const CLIENT: usize = 3;
const REQUEST_HEADERS: usize = 4;
const RESPONSE_HEADERS: usize = 5;
const QUERY: usize = 6;
const PARAMS: usize = 7;
const COOKIES: usize = 8;
const VARS: usize = 9;
const COMING_HEADERS: usize = 10;
pub const PLACES: usize = COMING_HEADERS + 1;
/// What stands in the handle of an answer, and of its headers, instead of a place.
pub const RESULT: usize = PLACES;
pub const RESULT_HEADERS: usize = PLACES + 1;

#[derive(Default)]
pub struct Handles {
    /// Addresses of the handles to the parts of the exchange, which are made once for each hook; 0 for those that were not made.
    /// The address is all that there is to a handle: whose it is not, for that it is one of a request that is over.
    addresses: [Cell<usize>; PLACES],
    /// The row of the machine's table of handles that is this hook's; 0 before it has one.
    pub row: Cell<i32>,
    /// Handles to the answers of calls: their addresses, their places in the machine's table, and what they are handles to.
    pub answers: RefCell<Vec<(usize, i32, Object)>>,
}

impl Running {
    /// Notes a handle that was made. It must live as long as this hook runs, so that no other userdata gets its address.
    pub fn keep_handle(&self, place: usize, address: usize) {
        if let Some(kept) = self.handles.addresses.get(place) {
            kept.set(address);
        }
    }

    pub fn has_handle(&self, place: usize) -> bool {
        self.handles.addresses.get(place).is_some_and(|address| address.get() != 0)
    }

    /// Nothing knows the handles any more.
    pub fn forget_handles(&self) {
        self.handles.addresses.iter().for_each(|address| address.set(0));
    }

    /// Where the machine's table holds a handle of this hook.
    pub fn slot(&self, place: usize) -> i32 {
        (self.handles.row.get() - 1) * PLACES as i32 + place as i32 + 1
    }

    /// The object behind a handle of this hook's own exchange, by its address: the reverse of [`Running::handle`].
    pub fn object(&self, address: usize) -> Option<Object> {
        let is_it = |known: &Cell<usize>| known.get() == address && address != 0;
        self.object_named(address, self.handles.addresses.iter().position(is_it).unwrap_or(RESULT))
    }

    /// The same, by the place that the handle names too.
    pub fn object_named(&self, address: usize, place: usize) -> Option<Object> {
        match self.handles.addresses.get(place) {
            Some(known) if known.get() == address => {}
            Some(_) => return None,
            None => {
                let answers = self.handles.answers.borrow();
                return answers.iter().rev().find(|(known, ..)| *known == address).map(|(.., object)| object.clone());
            }
        }
        let scope = self.scope.as_ref()?;
        let exchange = scope.exchange.as_ref()?.clone();
        Some(match place {
            REQUEST => Object::Request(exchange),
            RESPONSE => Object::Response(exchange),
            CONTEXT => Object::Context(scope.clone()),
            CLIENT => Object::Client(exchange),
            REQUEST_HEADERS => Object::Headers(exchange, Side::Request),
            RESPONSE_HEADERS => Object::Headers(exchange, Side::Response),
            COMING_HEADERS => Object::ComingHeaders(exchange),
            QUERY => Object::Query(exchange),
            PARAMS => Object::Params(exchange),
            COOKIES => Object::Cookies(exchange),
            _ => Object::Vars(exchange),
        })
    }

    /// The name of the kind of object that a place is for.
    pub fn kind_name(place: usize) -> &'static str {
        let kind = match place {
            REQUEST => &host::request::KIND,
            RESPONSE => &host::response::KIND,
            CONTEXT => &host::context::KIND,
            CLIENT => &host::context::CLIENT,
            REQUEST_HEADERS | RESPONSE_HEADERS | COMING_HEADERS => &host::headers::KIND,
            QUERY => &host::query::KIND,
            PARAMS => &host::request::PARAMS,
            COOKIES => &host::request::COOKIES,
            RESULT => &host::http::RESULT,
            RESULT_HEADERS => &host::http::RESULT_HEADERS,
            _ => &host::context::VARS,
        };
        kind.name
    }

    /// Where the machine's table holds the handle of an answer, or of a part of one, that was given before.
    pub fn answer_place(&self, object: &Object) -> Option<i32> {
        let is_it = |other: &Object| match (object, other) {
            (Object::Result(a), Object::Result(b)) | (Object::ResultHeaders(a), Object::ResultHeaders(b)) => {
                Rc::ptr_eq(a, b)
            }
            _ => false,
        };
        self.handles.answers.borrow().iter().rev().find(|(.., other)| is_it(other)).map(|(_, place, _)| *place)
    }

    /// The place of an object's handle, if it is a part of this hook's own exchange.
    pub fn handle(&self, object: &Object) -> Option<usize> {
        let own = self.scope.as_ref()?.exchange.as_ref()?;
        if !Rc::ptr_eq(object.exchange()?, own) {
            return None;
        }
        Some(match object {
            Object::Request(_) => REQUEST,
            Object::Response(_) => RESPONSE,
            Object::Context(_) => CONTEXT,
            Object::Client(_) => CLIENT,
            Object::Headers(_, Side::Request) => REQUEST_HEADERS,
            Object::Headers(_, Side::Response) => RESPONSE_HEADERS,
            Object::ComingHeaders(_) => COMING_HEADERS,
            Object::Query(_) => QUERY,
            Object::Params(_) => PARAMS,
            Object::Cookies(_) => COOKIES,
            Object::Vars(_) => VARS,
            Object::Result(_)
            | Object::ResultHeaders(_)
            | Object::Reply(_)
            | Object::Error(_)
            | Object::Verifier(_)
            | Object::IpList(_)
            | Object::Schema(_)
            | Object::Api(_)
            | Object::Gateway(_)
            | Object::Opaque(..) => return None,
        })
    }
}
