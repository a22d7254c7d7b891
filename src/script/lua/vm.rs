//! The machine: Luau with its libraries frozen, a limit on its memory, and an interrupt that stops or pauses scripts.
//!
//! [`Shared`] is what the host functions reach; it never holds the machine itself, which owns the functions.

use super::{
    bind,
    extended::Extended,
    json,
    program::freeze_module,
    raw,
    running::{Natives, Running},
};
use crate::script::{
    Modules, Source,
    limits::{Budget, CpuClock},
    object::Object,
};
use ahash::AHashMap;
use mlua::{
    Function, LightUserData, Lua, LuaOptions, StdLib, Table, Thread, Value, VmState,
    chunk::Compiler,
    state::{GcIncParams, GcMode},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Once},
};

/// Marks between the host functions and the prelude. Scripts never get hold of one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Wait = 1,
    Raised,
    Done,
    Stopped,
}

impl From<Mark> for mlua::Value {
    fn from(mark: Mark) -> mlua::Value {
        mlua::Value::LightUserData(LightUserData(std::ptr::without_provenance_mut(mark as usize)))
    }
}

impl Mark {
    pub fn is(self, value: &mlua::Value) -> bool {
        matches!(value, mlua::Value::LightUserData(LightUserData(at)) if at.addr() == self as usize)
    }
}

static FLAGS: Once = Once::new();

/// Luau's flags are the process's: they are set before its first machine is made.
fn set_flags() {
    // `table.move` of a billion places, hardly any of them taken, would go through them all without ever being interrupted. A Luau
    // without the flag does what it stands for anyway.
    let _ = Lua::set_fflag("LuauTableMoveTimeoutFix", true);
}

pub struct Vm {
    pub lua: Lua,
    pub shared: Rc<Shared>,
    pub memory: usize,
    /// What budgets are measured by.
    pub clock: Rc<CpuClock>,
    /// What every hook runs in, from the prelude.
    pub entry: Function,
    /// The same with places of handles for arguments.
    pub enter: Function,
    /// Threads of finished hooks, to be used again.
    pub idle_threads: RefCell<Vec<Thread>>,
    /// The metatable of a file's globals once it is loaded.
    pub new_global: Function,
    collected_at: Cell<usize>,
    idle: Cell<usize>,
    /// Bytes that hooks which wait at the moment hold.
    waiting: Rc<Cell<isize>>,
}

pub struct Shared {
    /// The frozen globals.
    pub globals: Table,
    /// What a handle to an exchange becomes when the hook is over.
    pub over: Object,
    /// Bytes that handles made since the last collection hold outside the machine, of which its collector knows nothing.
    pub held_outside: Cell<usize>,
    pub current: RefCell<Option<Rc<Running>>>,
    /// Handles of the hooks that run now, a row for each; what is left of finished hooks is overwritten.
    pub handles: Table,
    /// Handles to the answers of calls, and the places among them that no hook uses.
    pub held: Table,
    free_held: RefCell<Vec<i32>>,
    held_made: Cell<i32>,
    /// Rows that no hook uses, and how many there are.
    pub free_rows: RefCell<Vec<i32>>,
    pub rows: Cell<i32>,
    /// Verifiers and the like that `on_load` made, by the addresses of their userdata, which live as long as the machine.
    pub made: RefCell<AHashMap<usize, (Object, mlua::AnyUserData)>>,
    /// Options that stand in a frozen table, as they were converted, by the table's address; it lives as long as the machine.
    pub frozen: RefCell<AHashMap<usize, Frozen>>,
    /// mlua's interrupt, behind that of [`raw`].
    pub interrupt: Cell<Option<raw::interrupt::Interrupt>>,
    /// What `ctx.config` and `ctx.state` of each place are. They live as long as the machine.
    pub natives: Table,
    natives_made: Cell<i32>,
    /// Lists of the names of records, by the addresses of the fields that declare them.
    pub records: Table,
    record_places: RefCell<AHashMap<usize, i32>>,
    /// The numbers of members' names.
    pub members: AHashMap<&'static str, i16>,
    pub bound: OnceCell<bind::Bound>,
    /// What the functions of the list carry.
    pub listed: RefCell<Vec<Rc<raw::functions::Listed>>>,
    pub json: json::Tables,
    pub files: RefCell<AHashMap<String, File>>,
    /// Where `require` looks, of the script compiled last: all of a generation's scripts share one.
    pub modules: RefCell<Option<Rc<dyn Modules>>>,
    /// The names, with slashes, by which files were found.
    pub names: RefCell<AHashMap<String, String>>,
    /// Modules that were found and are about to be loaded.
    pub found: RefCell<AHashMap<String, Source>>,
    /// Whether the file loaded last does not compile.
    pub broken: Cell<bool>,
    /// What files gave, until requests come: from then on it can only be read.
    pub open: RefCell<Vec<Value>>,
    pub is_open: Cell<bool>,
}

/// A frozen table without a metatable that was options once: what it says can't change.
pub struct Frozen {
    pub params: &'static [crate::script::list::Param],
    pub value: crate::script::Value,
    pub _table: Table,
}

/// So many of those are kept, and of the objects that `on_load` made.
pub const MAX_KEPT: usize = 1024;

/// A file that was loaded, by the name that Luau's messages give it.
pub struct File {
    pub path: PathBuf,
    pub text: Arc<str>,
    /// Its globals.
    pub env: Table,
    /// Its own copies of standard libraries.
    pub extended: Extended,
}

impl Shared {
    pub fn running(&self) -> mlua::Result<Rc<Running>> {
        self.current.borrow().clone().ok_or_else(|| mlua::Error::runtime("no hook is running"))
    }
}

impl Shared {
    /// Keeps what a file gave, to be frozen by [`close`](Shared::close).
    pub fn opened(&self, value: Value) {
        if value.is_table() {
            self.open.borrow_mut().push(value);
            self.is_open.set(true);
        }
    }

    /// Before a request's hook: what files gave can only be read from now on, since requests share it. A file may change a module
    /// that it requires, and so may `on_load`, as configuring a library does.
    pub fn close(&self, lua: &Lua) -> mlua::Result<()> {
        self.is_open.set(false);
        for value in self.open.take() {
            freeze_module(lua, self, &value)?;
        }
        Ok(())
    }

    /// Counts bytes that something the machine holds keeps outside it.
    pub fn hold_outside(&self, bytes: usize) {
        self.held_outside.set(self.held_outside.get() + bytes);
    }

    pub fn give_row(&self, row: i32) {
        if row > 0 {
            self.free_rows.borrow_mut().push(row);
        }
    }

    /// Where `records` has the names of a record.
    pub fn record_place(&self, fields: &'static [crate::script::list::Param]) -> i32 {
        let mut places = self.record_places.borrow_mut();
        let next = places.len() as i32 + 1;
        *places.entry(fields.as_ptr().addr()).or_insert(next)
    }

    /// A place for a handle to the answer of a call.
    pub fn take_held(&self) -> i32 {
        self.free_held.borrow_mut().pop().unwrap_or_else(|| {
            self.held_made.set(self.held_made.get() + 1);
            self.held_made.get()
        })
    }

    pub fn give_held(&self, place: i32) {
        self.free_held.borrow_mut().push(place);
    }

    /// Keeps `ctx.config` and `ctx.state` of a place.
    pub fn keep_natives(&self, config: mlua::Value, state: mlua::Value) -> mlua::Result<Natives> {
        let at = self.natives_made.get() + 1;
        self.natives.raw_seti(at as usize, &config)?;
        self.natives.raw_seti(at as usize + 1, &state)?;
        self.natives_made.set(at + 1);
        Ok(Natives { config, state, places: (at, at + 1) })
    }
}

/// The name of the opaque object that stands in a handle whose request is over.
pub const OVER: &str = "over";

/// So many bytes outside the machine are worth a collection, which takes a third of a millisecond when little is alive.
const MAX_HELD_OUTSIDE: usize = 8 << 20;

/// How large the machine may grow before a cycle of collection ends, in percent of what is alive. Luau's own is 200, which makes a
/// cycle of each megabyte that requests leave behind; what a hook's garbage may hold is limited besides.
const GC_GOAL: i32 = 400;

/// Threads kept for the next hooks.
const MAX_IDLE_THREADS: usize = 64;

impl Vm {
    pub fn new(memory: usize) -> mlua::Result<Rc<Vm>> {
        // Without IO and PACKAGE, which Luau lacks anyway, and DEBUG. Panics are told from errors by the prelude's `pcall`:
        // mlua's own replacement (`catch_rust_panics(false)`) can't be yielded across, so no call inside it could wait.
        let libraries = StdLib::COROUTINE
            | StdLib::TABLE
            | StdLib::OS
            | StdLib::STRING
            | StdLib::UTF8
            | StdLib::BIT
            | StdLib::MATH
            | StdLib::BUFFER
            | StdLib::VECTOR;
        FLAGS.call_once(set_flags);
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        lua.enable_jit(true);
        // What the prelude replaces, and those that must see documents.
        let replaced = raw::stubs::RAW_BUILTINS.into_iter().chain(["tonumber"]);
        let compiler = Compiler::new().set_disabled_builtins(replaced);
        lua.set_compiler(compiler.set_mutable_globals(raw::stubs::RAW_ITERATION));
        let shared = Rc::new(Shared {
            globals: lua.globals(),
            over: Object::Opaque(OVER, Rc::new(())),
            held_outside: Cell::new(0),
            current: RefCell::default(),
            handles: lua.create_table()?,
            held: lua.create_table()?,
            free_held: RefCell::default(),
            held_made: Cell::new(0),
            free_rows: RefCell::default(),
            rows: Cell::new(0),
            made: RefCell::default(),
            frozen: RefCell::default(),
            interrupt: Cell::new(None),
            natives: lua.create_table()?,
            natives_made: Cell::new(0),
            records: lua.create_table()?,
            record_places: RefCell::default(),
            members: bind::names(),
            bound: OnceCell::new(),
            listed: RefCell::default(),
            json: json::Tables::new(&lua)?,
            files: RefCell::default(),
            modules: RefCell::default(),
            names: RefCell::default(),
            found: RefCell::default(),
            broken: Cell::new(false),
            open: RefCell::default(),
            is_open: Cell::new(false),
        });
        raw::objects::number_names(&lua, &shared);
        let prelude = bind::install(&lua, &shared)?;
        lua.sandbox(true)?;
        let interrupted = shared.clone();
        lua.set_interrupt(move |lua| {
            // Taken out for the call: a script can't be entered again from its own interrupt.
            let running = interrupted.current.borrow().clone();
            running.map_or(Ok(VmState::Continue), |running| running.interrupt(lua))
        });
        raw::interrupt::quicken_interrupt(&lua, &shared);
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().goal(GC_GOAL)));
        lua.set_memory_limit(memory)?;
        shared.json.memory.set(memory);
        lua.gc_collect()?;
        let idle = Cell::new(lua.used_memory());
        Ok(Rc::new(Vm {
            shared,
            memory,
            clock: CpuClock::new(),
            entry: prelude.get("entry")?,
            enter: prelude.get("enter")?,
            new_global: prelude.get("newglobal")?,
            idle_threads: RefCell::default(),
            collected_at: Cell::new(0),
            idle,
            waiting: Rc::default(),
            lua,
        }))
    }

    pub fn running(
        &self,
        scope: Option<Rc<crate::script::Scope>>,
        natives: Rc<Natives>,
        budget: Budget,
        memory: usize,
    ) -> Rc<Running> {
        let share = (self.memory / 2).min(memory);
        Rc::new(Running::new(scope, natives, budget, share, self.idle.get(), self.waiting.clone()))
    }

    /// Runs a piece of a hook with it as the current one.
    pub fn slice<R>(&self, running: &Rc<Running>, run: impl FnOnce() -> R) -> R {
        struct Guard<'a>(&'a Vm, &'a Rc<Running>, Option<Rc<Running>>);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.1.leave(&self.0.lua);
                self.0.shared.current.replace(self.2.take());
            }
        }
        let previous = self.shared.current.replace(Some(running.clone()));
        let _guard = Guard(self, running, previous);
        running.enter(&self.lua);
        run()
    }

    /// A thread that is new or has ended; `function`: what a new one is made of.
    pub fn thread(&self, function: &Function) -> mlua::Result<Thread> {
        let idle = self.idle_threads.borrow_mut().pop();
        idle.map_or_else(|| self.lua.create_thread(function.clone()), Ok)
    }

    pub fn recycle(&self, thread: Thread) {
        let mut idle = self.idle_threads.borrow_mut();
        if idle.len() < MAX_IDLE_THREADS {
            idle.push(thread);
        }
    }

    /// After a hook was stopped: what it held must not stand in the way of others. Luau itself never collects because
    /// memory runs out, so it would stay at its limit.
    pub fn collect(&self) {
        // Once is enough: Luau drops the marks of a cycle that is under way and begins anew.
        let _ = self.lua.gc_collect();
        self.collected_at.set(self.lua.used_memory());
    }

    /// Between hooks: garbage that came faster than the incremental collector went.
    pub fn collect_if_full(&self) {
        let used = self.lua.used_memory();
        if self.shared.held_outside.get() > MAX_HELD_OUTSIDE {
            let _ = self.lua.gc_collect();
            self.shared.held_outside.set(0);
        } else if used > self.memory / 4 * 3 && used > self.collected_at.get() + self.memory / 8 {
            self.collect();
        }
    }

    /// What is held now belongs to the machine, not to a hook.
    pub fn settle(&self) {
        self.collect();
        self.idle.set(self.lua.used_memory());
    }
}
