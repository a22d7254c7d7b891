//! Binds the one list to Rhai: modules as static modules, all kinds of objects as one type.
//!
//! Everything is dispatched here at run time by what the list says; no function of the list is named. Each name is bound for
//! more numbers of arguments than it takes, so that the shared messages about arguments are seen instead of Rhai's.

use super::{convert::Seen, convert::to_script, object, run::Worker};
use crate::script::{
    Raise, Value, convert, host,
    list::{ConstantValue, Function, Kind, Type},
    object::Object,
    value::Args,
};
use ::rhai::{
    Array, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, NativeCallContext, Position,
    RhaiFunc, Shared,
};
use std::{any::TypeId, collections::BTreeMap, mem, ops::Deref, rc::Rc};

type Failed = Box<EvalAltResult>;
type Native = dyn Fn(Option<NativeCallContext>, &mut [&mut Dynamic]) -> Result<Dynamic, Failed>;

/// Arguments that may follow the declared ones of a variadic function.
const VARIADIC: usize = 8;

pub fn bind(engine: &mut Engine, worker: &Rc<Worker>) {
    for module in host::MODULES {
        let mut bound = Module::new();
        for constant in module.constants {
            bound.set_var(
                constant.name,
                match constant.value {
                    ConstantValue::Null => Dynamic::UNIT,
                    ConstantValue::Text(text) => text.into(),
                    ConstantValue::Int(i) => i.into(),
                },
            );
        }
        for function in module.functions {
            let name = format!("{}::{}", module.name, function.name);
            let func = native_at(worker, move |worker, position, args| {
                let given = args.iter_mut().map(|arg| Seen::new(worker, mem::take(*arg)));
                call((worker, position), function, &name, None, given)
            });
            let most = function.params.len() + if function.variadic { VARIADIC } else { 2 };
            for count in 0..=most {
                register(&mut bound, function.name, vec![TypeId::of::<Dynamic>(); count], func.clone(), Call::Module);
            }
            // Rhai tries every mix of exact types and `Dynamic`, exact ones first: what is usual is found at once.
            for count in 1..=function.params.len() {
                let usual = function.params[..count].iter().map(|param| usual_type(&param.ty)).collect();
                register(&mut bound, function.name, usual, func.clone(), Call::Module);
            }
        }
        engine.register_static_module(module.name, bound.into());
    }
    engine.register_type_with_name::<Object>("object");
    let mut members = Module::new();
    bind_objects(&mut members, worker);
    engine.register_global_module(members.into());
    // Also asked after a function failed, so it answers only for names that the kind does not have.
    #[expect(deprecated, reason = "not deprecated, but volatile, as its documentation says")]
    engine.on_missing_function(|name, args, is_method, _| match object_of(args) {
        Ok(object) if is_method && object.kind().method(name).is_none() => {
            Err(failed(convert::unknown_member(object.kind(), name), Position::NONE))
        }
        _ => Ok(None),
    });
}

fn bind_objects(members: &mut Module, worker: &Rc<Worker>) {
    let object = TypeId::of::<Object>();
    let any = TypeId::of::<Dynamic>();
    let kinds = || host::KINDS.iter().copied();
    // Every name once; the object's kind decides what it means.
    let properties = kinds().flat_map(|kind| kind.properties).map(|property| property.name);
    for name in properties.collect::<std::collections::BTreeSet<_>>() {
        let of_kind = |kind: &'static Kind| kind.property(name).map(|property| (kind, property));
        let known: Vec<_> = kinds().filter_map(of_kind).collect();
        let get = native(worker, move |worker, args| {
            let object = object_of(args)?;
            let found = known.iter().find(|(kind, _)| std::ptr::eq(*kind, object.kind()));
            object::get(worker, &object, name, found.map(|(_, property)| *property))
        });
        register(members, &format!("get${name}"), vec![object], get, Call::Reference);
        let set = native(worker, move |worker, args| {
            let value = mem::take(&mut *args[1]);
            object::set(worker, &*object_of(args)?, name, value)
        });
        register(members, &format!("set${name}"), vec![object, any], set, Call::Reference);
    }
    let get = native(worker, |worker, args| object::get_index(worker, &*object_of(args)?, &key_of(args)?));
    register(members, "index$get$", vec![object, any], get, Call::Reference);
    let set = native(worker, |worker, args| {
        let value = mem::take(&mut *args[2]);
        object::set_index(worker, &*object_of(args)?, &key_of(args)?, value)
    });
    register(members, "index$set$", vec![object, any, any], set, Call::Reference);

    let mut methods: BTreeMap<&str, usize> = BTreeMap::new();
    for method in kinds().flat_map(|kind| kind.methods) {
        let most = method.params.len() + if method.variadic { VARIADIC } else { 2 };
        let known = methods.entry(method.name).or_default();
        *known = most.max(*known);
    }
    for (name, most) in methods {
        let func = native_at(worker, move |worker, position, args| {
            let object = object_of(args)?.clone();
            let kind = object.kind();
            let method = kind.method(name).ok_or_else(|| convert::unknown_member(kind, name))?;
            let given = args[1..].iter_mut().map(|arg| Seen::new(worker, mem::take(*arg)));
            call((worker, position), method, name, Some(object), given)
        });
        for count in 0..=most {
            let types = std::iter::once(object).chain(std::iter::repeat_n(any, count)).collect();
            register(members, name, types, func.clone(), Call::Handle);
        }
    }

    for function in host::GLOBALS {
        let func = native_at(worker, move |worker, position, args| {
            let given = args.iter_mut().map(|arg| Seen::new(worker, mem::take(*arg)));
            call((worker, position), function, function.name, None, given)
        });
        for count in 0..=function.params.len() + 2 {
            register(members, function.name, vec![any; count], func.clone(), Call::Handle);
        }
    }

    let contains = native(worker, |_, args| Ok(object::contains(&*object_of(args)?, &key_of(args)?)?.into()));
    register(members, "contains", vec![object, any], contains, Call::Handle);
    members.set_iter_result(object, |value: Dynamic| {
        let names = value.try_cast::<Object>().ok_or_else(|| Raise::error("not an object")).and_then(object::names);
        match names {
            Ok(names) => Box::new(names.into_iter().map(|name| Ok(Dynamic::from(name)))),
            Err(raise) => Box::new(std::iter::once(Err(failed(raise, Position::NONE)))),
        }
    });
    for name in ["to_string", "to_debug"] {
        let func = native(worker, |_, args| Ok(object_of(args)?.kind().name.into()));
        register(members, name, vec![object], func, Call::Handle);
    }
}

/// How a function gets its first argument.
#[derive(Clone, Copy)]
enum Call {
    /// Of a module: a value like any other.
    Module,
    /// A property's object, by reference.
    Reference,
    /// A method's object, a copy of the handle. By reference would be no dearer, but after such a method Rhai writes back all that
    /// led to the object: `ctx.state.verifier.verify(t)` would read the state again and compare it whole.
    Handle,
}

/// Registers under Rhai's internal names too (`get$x`, `index$set$`): its own constructors for those can't take raw functions.
/// All may be called on constants, since objects are handles.
fn register(module: &mut Module, name: &str, types: Vec<TypeId>, func: Shared<Native>, call: Call) {
    let (has_context, is_pure, is_volatile) = (true, true, true);
    let registration = FuncRegistration::new(name);
    let registration = match call {
        Call::Module => registration.in_internal_namespace(),
        Call::Reference | Call::Handle => registration.in_global_namespace(),
    };
    let func = match call {
        Call::Reference => RhaiFunc::Method { func, has_context, is_pure, is_volatile },
        Call::Module | Call::Handle => RhaiFunc::Pure { func, has_context, is_pure, is_volatile },
    };
    registration.set_into_module_raw(module, types, func);
}

/// The Rhai type in which an argument of a declared type mostly comes.
fn usual_type(ty: &Type) -> TypeId {
    match ty {
        Type::Bool => TypeId::of::<bool>(),
        Type::Int | Type::Number => TypeId::of::<i64>(),
        Type::String | Type::Bytes | Type::Duration | Type::Scalar => TypeId::of::<ImmutableString>(),
        Type::Json | Type::Map(_) | Type::Options(_) => TypeId::of::<Map>(),
        Type::List(_) => TypeId::of::<Array>(),
        Type::Object(_) => TypeId::of::<Object>(),
        Type::Maybe(inner) => usual_type(inner),
        Type::Function => TypeId::of::<::rhai::FnPtr>(),
        Type::Nil | Type::Native | Type::Any | Type::Scalars => TypeId::of::<Dynamic>(),
    }
}

fn native(
    worker: &Rc<Worker>,
    func: impl Fn(&Worker, &mut [&mut Dynamic]) -> Result<Dynamic, Raise> + 'static,
) -> Shared<Native> {
    native_at(worker, move |worker, _, args| func(worker, args))
}

/// [`native`], with the place that it is called from.
fn native_at(
    worker: &Rc<Worker>,
    func: impl Fn(&Worker, Position, &mut [&mut Dynamic]) -> Result<Dynamic, Raise> + 'static,
) -> Shared<Native> {
    let worker = worker.clone();
    Rc::new(move |context, args| {
        let position = context.map_or(Position::NONE, |context| context.call_position());
        let done = worker.room().and_then(|()| func(&worker, position, args));
        done.map_err(|raise| failed(raise, position))
    })
}

/// Checks the arguments, calls the function, and suspends the script while it has to wait.
fn call<'a>(
    (worker, position): (&'a Worker, Position),
    function: &'static Function,
    name: &str,
    this: Option<Object>,
    given: impl ExactSizeIterator<Item = Seen<'a>>,
) -> Result<Dynamic, Raise> {
    let run = worker.run();
    let Some(scope) = run.as_ref().and_then(|run| run.scope.as_deref()) else {
        let why = "can't be called while a file is loaded: call it from on_load or another hook";
        return Err(convert::named(name, Raise::error(why)));
    };
    let mut args = Vec::with_capacity(1 + function.params.len());
    args.extend(this.map(Value::Object));
    convert::args(function.params, function.variadic, given, &mut args).map_err(|raise| convert::named(name, raise))?;
    if args.iter().any(Value::is_long) {
        worker.look_soon();
    }
    let outcome = (function.run)(scope, Args(args));
    let value = worker.settle(outcome).map_err(|raise| convert::named(name, raise))?;
    let given = match (value, &run) {
        (Value::Json(text), Some(run)) => worker.decode_wanted(&text, run.calls.at(position, function.name)),
        (value, _) => to_script(&function.returns, value, worker),
    };
    given.map_err(|raise| convert::named(name, raise))
}

fn object_of<'a>(args: &'a [&mut Dynamic]) -> Result<impl Deref<Target = Object> + 'a, Raise> {
    let object = args.first().and_then(|arg| arg.read_lock::<Object>());
    object.ok_or_else(|| Raise::error("not an object of the gateway"))
}

fn key_of(args: &[&mut Dynamic]) -> Result<ImmutableString, Raise> {
    match args.get(1).map(|key| key.as_immutable_string_ref().map(|key| key.clone())) {
        Some(Ok(key)) => Ok(key),
        Some(Err(_)) | None => Err(Raise::error("names are strings")),
    }
}

/// A host function's error as Rhai's.
pub fn failed(raise: Raise, position: Position) -> Failed {
    Box::new(match raise {
        Raise::Error(message) => EvalAltResult::ErrorRuntime(Dynamic::from(message), position),
        // Ends the hook: unlike a reply that a script throws it can't be caught.
        Raise::Reply(reply) => EvalAltResult::ErrorTerminated(Dynamic::from(Object::Reply(Rc::new(*reply))), position),
    })
}
