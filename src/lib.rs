//! Gatewright: an API gateway whose policies are scripts.
//!
//! This page is the map. Read it first, then [`proxy`] and its `life.rs`, then whatever you came for.
//!
//! # What it is
//!
//! A Rust core accepts, routes and forwards requests; at named points it calls *hooks* of scripts in Lua (Luau) or Rhai.
//! Authentication, rate limits and transforms are scripts too: the stock ones in `scripts/`, a user's own in `plugins/`. A save is
//! live within a fraction of a second, whole or not at all.
//!
//! # The map
//!
//! A folder uses those above it in this list, never those below; a test holds it to that.
//!
//! | folder | what |
//! |---|---|
//! | [`memory`] | counts what a thread allocates, for the limits of scripts |
//! | [`config`] | what the user wrote: `gateway.yaml`, `plugin.toml`, each value with its place; diagnostics |
//! | [`timer`] | one timer a connection, for waits that seldom last |
//! | [`http`] | heads, bodies, paths, hop-by-hop and forwarding headers: rules without input or output |
//! | [`http1`] | HTTP/1.1 on the wire, in both directions: pure machines over bytes |
//! | [`http2`] | streams of HTTP/2 as both sides use them: bodies and tunnels |
//! | [`crypto`] | tokens, digests and passwords |
//! | [`store`] | `kv` and rate limits, in the process and in Redis |
//! | [`downstream`] | the server towards clients, HTTP/1.1 and HTTP/2 |
//! | [`upstream`] | the client towards targets, HTTP/1.1 and HTTP/2, its pool, and the addresses of names |
//! | [`balance`] | which target gets a request: health, ejection, breakers, balancing; state of the process |
//! | [`observe`] | metrics, traces, access log and program log |
//! | [`script`] | hooks, programs, limits, everything that scripts can call · `lua/`, `rhai/`: the only places that name an engine |
//! | [`gateway`] | a generation: routes, plugins, chains; checked once, prepared on each worker |
//! | [`proxy`] | workers, sockets, the life of an exchange, forwarding |
//! | [`admin`], [`run`] | the process: watching files, reloading, signals, administration |
//! | [`harness`] | runs the test files of scripts: a whole gateway in the test's own thread, with upstreams and a clock that it speaks for |
//! | [`cli`] | commands |
//!
//! # The life of an exchange
//!
//! ```text
//! accept ─ head policed, request id, client address, identity headers stripped   (proxy::accept)
//!   └─ route                                                                     (gateway::router)
//!       └─ on_request of each plugin: global, service, route                     (proxy::life::answer)
//!           ├─ handle: a script answers
//!           └─ forward: breaker, target, try, retry                (proxy::forward, proxy::tries, balance, upstream)
//!       └─ a failure: on_error, then the one place where failures become responses (proxy::failure)
//!   └─ on_response of each plugin, in reverse order                              (proxy::life::respond)
//!   └─ body streams to the client; after its last byte the access log and on_log (proxy::record)
//! ```
//!
//! # Invariants
//!
//! - **One worker a core, nothing shared on the request path** but atomics and the stores. Each worker is a thread with a
//!   single-threaded runtime, its own sockets (`SO_REUSEPORT`), connections to targets, Lua VM and Rhai engine. An exchange
//!   never leaves its worker, so handles to it are `Rc` and nothing is locked.
//! - **An exchange sees one generation.** It takes the current one when its head is here and keeps it until its `on_log` has
//!   ended. Which one is current is one atomic number; every worker has prepared a generation before the number says so.
//! - **State by lifetime.** Process: `kv`, counters of limits, metrics, pools, health of targets, breakers. Generation: routes, programs, what `on_load` returned,
//!   which scripts are in quarantine, background work (`every`, on the first worker).
//!   Exchange: everything else. Reloading touches only the second.
//! - **Bodies stream.** A body is in memory only when a script asked for it, and then within a limit.
//! - **One list.** What scripts can call stands in [`script::host`] once; both engines, the reference and the editor stubs are made
//!   from it.
//! - **Errors are values until the end.** Only [`proxy::failure`] makes responses of them; a client sees a status and an id.
//! - **Security fails closed.** A script that can't run refuses its request; a build that fails changes nothing.
//!
//! # Deliberately absent
//!
//! - No plugin of native code: everything that can be dropped in is a script within limits.
//! - No files, processes, sockets or clocks of the system for scripts beyond the list.
//! - No background task for a request of HTTP/1.1: the upstream connection is driven in the exchange's own task, and that is the
//!   task of the client's connection (half the cost of a general client and server). Tasks of their own have what HTTP/2 multiplexes,
//!   WebSockets once they are open, and what no client waits for: copies for a mirror, and `on_log`.
//! - No global state: everything hangs on the process, the worker, the generation or the exchange.
//!
//! # Decisions that differ from the first design
//!
//! - The current generation is an atomic number and not a shared pointer: workers keep what they prepared, so a request costs one
//!   load and no reference count that all cores write.
//! - The sliding window is exact up to a limit of 1000 and uses two counters above: with two counters a client that waits for a
//!   whole window may still be refused.
//! - JSON is handed to scripts as tables and maps of their own language and not as proxies, which `pairs`, `#` and the library would
//!   see through; the order of keys travels in their metatable (Lua) or tag (Rhai). In Lua a part of a document is an empty table
//!   until it is touched, and is filled then where it is, one level at a time (`script::lua::raw::stubs`): what a script never looks at
//!   is not built, and is written from the document's text. Rhai's maps know nothing like a metatable, so there all is built.
//! - Where many exchanges are under way on a worker, each gives way once before its scripts run and once before what they led to is
//!   written, so that the scripts run behind each other and then all the writes ([`script::turns`]).
//! - Release builds are made by a profile of the gateway at work, which stands in `.cargo/profiles` (`benches/profile` takes it): cargo
//!   can't hand one to a compiler, so `.cargo/rustc` and `.cargo/c++` do.
//! - Rhai's memory is limited by counting the thread's allocations ([`memory`]).

// The checks of `fuzz/` are in its tests too, and name it from outside.
#[cfg(test)]
extern crate self as gatewright;

pub mod admin;
pub mod balance;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod downstream;
pub mod gateway;
pub mod harness;
pub mod http;
pub mod http1;
pub mod http2;
pub mod memory;
pub mod observe;
pub mod proxy;
pub mod run;
pub mod script;
pub mod store;
pub mod timer;
pub mod upstream;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
