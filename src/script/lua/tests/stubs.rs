//! Documents of which a script looks at parts only: nothing it can do tells them from tables that were built as a whole.

use super::*;
use crate::script::lua::{json, raw, vm::Vm};
use mlua::{Function, Table, Value as Lv};
use proptest::prelude::*;

/// Long enough to be opened bit by bit, whatever it says.
fn long(document: &str) -> String {
    format!("{document}{}", " ".repeat(512))
}

struct Machine {
    vm: Rc<Vm>,
}

impl Machine {
    fn new() -> Machine {
        Machine { vm: Vm::new(64 << 20).expect("a machine") }
    }

    /// A document as a whole, and the same to be opened.
    fn both(&self, document: &str) -> (Lv, Lv) {
        let (lua, tables) = (&self.vm.lua, &self.vm.shared.json);
        let Ok(whole) = json::decode(lua, tables, None, document.as_bytes()) else { panic!("not JSON: {document}") };
        let stub = raw::stubs::document_of(lua, tables, long(document).as_bytes()).expect("memory");
        (whole, stub.unwrap_or_else(|| panic!("not usual: {document}")))
    }

    /// Has a script read what the document says, so that the next one like it is filled with that. Each time it sees a few entries of an
    /// object before that is opened.
    fn read(&self, document: &str, times: usize) {
        let read = self.vm.lua.load(
            "local function read(whole, stub)
                local keys = {}
                for key in pairs(whole) do table.insert(keys, key) end
                table.sort(keys)
                for _, key in keys do
                    local part = stub[key]
                    if type(part) == 'table' then read(whole[key], part) end
                end
            end
            read(...)",
        );
        let read = read.into_function().expect("it compiles");
        for _ in 0..times {
            read.call::<()>(self.both(document)).expect("it reads");
        }
    }

    fn written(&self, value: &Lv) -> String {
        match json::encode(&self.vm.lua, &self.vm.shared.json, None, value).expect("memory") {
            Ok(text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
            Err(raise) => raise.to_string(),
        }
    }

    /// What a function says of a value, or why it failed.
    fn said(&self, function: &Function, value: Lv) -> String {
        match function.call::<String>(value) {
            Ok(said) => said,
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn function(&self, body: &str) -> Function {
        self.vm.lua.load(format!("local v = ... {body}")).set_name("=test").into_function().expect("it compiles")
    }
}

const DOCUMENT: &str = r#"{"id":7,"name":"a\nb","list":[3,1,2],"of":[{"x":1,"y":[]},{"x":2,"y":{}}],"none":null,"in":{"deep":{"er":[[1]]}},"words":["b","a"],"yes":true}"#;

#[test]
fn whatever_touches_a_part_sees_it_whole() {
    for body in [
        "return tostring(v.id) .. v.name .. tostring(v.none == nil) .. tostring(v.nothing) .. tostring(v[1])",
        "return tostring(v.list == v.list) .. tostring(rawequal(v.of[1], v.of[1])) .. type(v.of) .. typeof(v['in'])",
        "return #v.list .. #v .. #v['in'] .. #v.of[1].y",
        "local keys = {} for key in pairs(v) do table.insert(keys, key) end table.sort(keys) return table.concat(keys, ' ')",
        "local keys = {} for key in v do table.insert(keys, key) end table.sort(keys) return table.concat(keys, ' ')",
        "local keys = {} for key in next, v do table.insert(keys, key) end table.sort(keys) return table.concat(keys, ' ')",
        "local step = next local n = 0 for key in step, v['in'] do n += 1 end return n",
        "local _, s = pairs(v.list) local n = 0 for _, item in next, s do n += item end return n",
        "local step = pairs({}) return tostring(step(v.list)) .. tostring(step(v.list, 3))",
        "local n = 0 for i, item in ipairs(v.list) do n += i * item end return n",
        "local step = ipairs({}) local n = 0 for i, item in step, v.list, 0 do n += i * item end return n",
        "local n = 0 for _, item in v.of do n += item.x end return n",
        "return tostring(next(v['in'])) .. tostring(next(v.of[1].y))",
        "return rawget(v, 'id') .. tostring(rawget(v.list, 2)) .. rawlen(v.list) .. tostring(rawget(v, 'of') == v.of)",
        "rawset(v.list, 4, 9) rawset(v, 'new', 1) return #v.list .. tostring(v.new)",
        "return table.concat(v.words, ',') .. table.concat({ table.unpack(v.list) }, ',') .. select('#', unpack(v.list))",
        "table.insert(v.list, 4) table.insert(v.list, 1, 0) return table.remove(v.list) .. table.concat(v.list, ',')",
        "table.sort(v.list) return table.concat(v.list, ',') .. table.find(v.list, 3) .. table.maxn(v.list)",
        "return table.concat(table.move(v.list, 1, 3, 2, { 0 }), ',') .. #table.move({ 5 }, 1, 1, 4, v.list)",
        "table.clear(v.list) return #v.list .. tostring(next(v.list))",
        "local copy = table.clone(v.list) copy[1] = 9 return copy[1] .. v.list[1] .. getmetatable(copy)",
        "return getmetatable(v) .. getmetatable(v.list) .. tostring(getmetatable(v.of[2].y)) .. getmetatable(v.of[1].y)",
        "return tostring(table.isfrozen(v)) .. tostring(table.isfrozen(v.list))",
        "table.freeze(v.list)",
        "setmetatable(v.of, {})",
        "v.list = nil v.id = 8 v.other = v.of v.of = nil return tostring(v.list) .. v.id .. v.other[2].x .. tostring(v.of)",
        "v['in'].deep = nil return tostring(next(v['in']))",
        "v['in'][nil] = 1",
        "v['in'][0 / 0] = 1",
        "v.list[4] = 4 v.list[1] = nil return tostring(v.list[1]) .. v.list[4]",
        "local inherits = setmetatable({}, { __index = v }) return inherits.id .. inherits.list[1] .. tostring(inherits.no)",
        "return tostring(setmetatable({}, v['in']).deep)",
        "return (string.gsub('$id $name', '%$(%w+)', v))",
        "return tostring(pcall(function() return v < v end)) .. tostring(pcall(function() return v .. '' end))",
        "local id for _ = 1, 9 do id = v.id end return id .. v.yes == nil",
        "return v.in_.x",
        "return v.list.x.y",
        "return v.list()",
        "local co = coroutine.wrap(function(v) for k, item in v.list do coroutine.yield(item) end end) return co(v) .. co()",
    ] {
        for times in [0, 1, 10] {
            let machine = Machine::new();
            let function = machine.function(body);
            machine.read(DOCUMENT, times);
            let (whole, stub) = machine.both(DOCUMENT);
            let said = (machine.said(&function, whole.clone()), machine.written(&whole));
            assert_eq!((machine.said(&function, stub.clone()), machine.written(&stub)), said, "{times}: {body}");
        }
    }
}

#[test]
fn what_scripts_read_is_there_from_the_first() {
    let machine = Machine::new();
    let rawly =
        "local keys = {} for key, value in v do if type(value) ~= 'userdata' then keys[key] = true end end return keys";
    let held = |stub: &Lv| {
        // What is built in sees the bare table.
        let Lv::Table(table) = stub else { panic!("no table: {rawly}") };
        let mut keys: Vec<String> = table
            .pairs::<Lv, Lv>()
            .filter_map(|pair| pair.ok()?.0.as_string().map(|key| key.to_string_lossy()))
            .collect();
        keys.sort();
        keys.join(" ")
    };
    let (_, stub) = machine.both(DOCUMENT);
    assert_eq!(held(&stub), "");
    machine.said(&machine.function("return v.id .. v.list[1]"), stub);
    let (_, stub) = machine.both(DOCUMENT);
    assert_eq!(held(&stub), "id list");
    machine.read(DOCUMENT, 10);
    let (_, stub) = machine.both(DOCUMENT);
    assert_eq!(held(&stub), "id in list name none of words yes");
}

#[test]
fn a_long_list_is_filled_in_part_and_reads_the_same() {
    let machine = Machine::new();
    let items: Vec<String> = (0..700).map(|n| format!(r#"{{"a":{n},"b":[{n}],"c":"c{n}","d":{n}}}"#)).collect();
    let document = format!(r#"{{"items":[{}]}}"#, items.join(","));
    machine.read(r#"{"items":[{"a":1,"b":[1],"c":"c","d":1}]}"#, 10);
    let body = machine.function(
        "local sum = 0 for _, item in v.items do sum += item.a + item.b[1] + tonumber(string.sub(item.c, 2)) + item.d end return sum",
    );
    for _ in 0..2 {
        let (whole, stub) = machine.both(&document);
        assert_eq!(machine.said(&body, stub.clone()), (4 * 699 * 350).to_string());
        assert_eq!(machine.written(&stub), machine.written(&whole));
    }
    // What is wanted changes while a document is held.
    let (whole, stub) = machine.both(&document);
    machine.read(r#"{"items":[{"a":1,"b":[1],"c":"c","d":1}],"more":{"than":{"before":1}}}"#, 10);
    assert_eq!(machine.said(&body, stub.clone()), machine.said(&body, whole));
}

#[test]
fn a_part_is_the_same_table_each_time() {
    let machine = Machine::new();
    machine.read(DOCUMENT, 2);
    let (_, stub) = machine.both(DOCUMENT);
    let body = "local list, of = v.list, v.of assert(list == v.list and of[1] == v.of[1] and of[1] ~= of[2]) \
                local seen = { [list] = 1, [of] = 2 } v.id = nil assert(seen[v.list] == 1 and seen[v.of] == 2) \
                list[1] = 'new' return v.list[1]";
    assert_eq!(machine.said(&machine.function(body), stub), "new");
}

#[test]
fn what_no_script_looked_at_is_written_as_it_would_be() {
    let machine = Machine::new();
    let text =
        r#"{ "of" : [ {"x": 1.50, "y": [ ]}, { "x":-0, "y" : { } } ], "id": "\u00e9\/", "list" : [ 1e2, null ] }"#;
    let (whole, stub) = machine.both(text);
    assert_eq!(machine.written(&stub), r#"{"of":[{"x":1.5,"y":[]},{"x":0,"y":{}}],"id":"é/","list":[100,null]}"#);
    assert_eq!(machine.written(&stub), machine.written(&whole));
    let part = machine.function("return { part = v.of, list = { v.list } }");
    let (of_whole, of_stub): (Lv, Lv) = (part.call(whole).expect("a table"), part.call(stub).expect("a table"));
    assert_eq!(machine.written(&of_stub), machine.written(&of_whole));
}

#[test]
fn parts_are_opened_when_their_keys_are_forgotten() {
    for times in [0, 1, 10] {
        let machine = Machine::new();
        machine.read(DOCUMENT, times);
        forgotten(&machine, "");
        let machine = Machine::new();
        machine.read(DOCUMENT, times);
        forgotten(&machine, "v.id = 8 v.list = nil v.none = 1 v['in'].deep.er[1][1] = 2 v.yes = nil");
    }
}

fn forgotten(machine: &Machine, change: &str) {
    let (whole, stub) = machine.both(DOCUMENT);
    let changed = machine.function(&format!("{change} return ''"));
    machine.said(&changed, whole.clone());
    machine.said(&changed, stub.clone());
    for n in 0..600 {
        let other = format!(r#"{{"other{n}":1}}"#);
        assert!(json::decode(&machine.vm.lua, &machine.vm.shared.json, None, other.as_bytes()).is_ok());
    }
    let body =
        machine.function("return v.of[1].x .. #v.of .. getmetatable(v.of[1]) .. v['in'].deep.er[1][1] .. v.name");
    assert_eq!(machine.said(&body, stub.clone()), machine.said(&body, whole.clone()));
    assert_eq!(machine.written(&stub), machine.written(&whole));
}

#[test]
fn documents_in_hooks_are_opened_by_all_that_take_tables() {
    block_on(async {
        let rig = Rig::new();
        let document = r#"{"z":{"b":1,"a":[1,2]},"options":{"timeout":"1s"},"names":["x-a","x-b"]}"#;
        let body = |change: &str| {
            let text = long(document);
            format!("json.decode('{text}') local v = json.decode('{text}') {change}")
        };
        for (change, said) in [
            ("return reply.json(200, v)", document),
            ("return reply.json(200, { v.z, v.names })", r#"[{"b":1,"a":[1,2]},["x-a","x-b"]]"#),
            ("return reply.json(200, json.array(v.names))", r#"["x-a","x-b"]"#),
            ("return reply.json(200, table.clone(v.z))", r#"{"b":1,"a":[1,2]}"#),
            ("ctx.vars.z = v.z return reply.json(200, ctx.vars.z)", r#"{"b":1,"a":[1,2]}"#),
            ("return reply.text(200, url.query(v.z.a and { a = v.z.b }))", "a=1"),
            ("return reply.text(200, 'ok', { ['x-a'] = v.names[1] })", "ok"),
        ] {
            assert_eq!(rig.request(&body(change)).await, format!("200 {said}"), "{change}");
        }
    });
}

#[test]
fn documents_that_are_held_count_as_memory() {
    block_on(async {
        let rig = Rig::new();
        let patient = || Limits { cpu: std::time::Duration::from_secs(20), ..Limits::default() };
        // Sixty kilobytes each, of which nothing or one small part is looked at.
        let text = r#"'{"a":{"b":1},"c":"' .. string.rep('x', 60000) .. '"}'"#;
        let holds = |what: &str, times: usize| {
            format!(
                "local text = {text} json.decode(text) local held = {{}} \
                 for i = 1, {times} do held[i] = json.decode(text){what} end return reply.text(200, tostring(#held))"
            )
        };
        for what in ["", ".a"] {
            let said = rig.request_with(&holds(what, 10), patient()).await;
            assert_eq!(said, "200 10", "{what}");
            let said = rig.request_with(&holds(what, 2000), patient()).await;
            assert!(said.starts_with("Limit(Memory)"), "{what}: {said}");
        }
        // What is not held any more is not counted.
        let said = rig.request_with(&holds(".a.b", 2000), patient()).await;
        assert_eq!(said, "200 2000");
    });
}

/// What is done to a document, by a number: each operation goes to some table in it, and says what it saw.
const OPERATIONS: &str = r##"
local document, operations = ...
local said, current = {}, document
local function say(value)
    local kind = type(value)
    table.insert(said, if kind == "table" then `table {getmetatable(value)}` else `{kind} {value}`)
end
local function keys(t)
    local list = {}
    for key in pairs(t) do
        table.insert(list, key)
    end
    table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
    return list
end
for _, operation in operations do
    local with = operation // 16
    local names = { "a", "b", "c", 1, 2, 3, "", "d" }
    local key = names[with % #names + 1]
    local step = operation % 16
    -- How long an array with holes is, Lua leaves open.
    if type(key) == "number" then
        local length = #current
        key = if step == 5 then math.max(key, length) else math.min(key, length + 1)
    end
    if step == 0 then
        current = document
    elseif step == 1 or step == 2 then
        local list = keys(current)
        local value = current[list[with % math.max(#list, 1) + 1] or 1]
        say(value)
        if type(value) == "table" then
            current = value
        end
    elseif step == 3 then
        say(current[key])
    elseif step == 4 then
        current[key] = with
    elseif step == 5 then
        current[key] = nil
    elseif step == 6 then
        say(#current)
    elseif step == 7 then
        for i, value in ipairs(current) do
            say(i)
            say(value)
        end
    elseif step == 8 then
        say(next(current) == nil)
    elseif step == 9 then
        say(rawget(current, key))
        rawset(current, key, with)
        say(rawlen(current))
    elseif step == 10 then
        say(pcall(table.insert, current, with))
        table.insert(current, key)
    elseif step == 11 then
        say(pcall(table.remove, current))
    elseif step == 12 then
        say(table.find(current, with))
        document.moved = current
    elseif step == 13 then
        local list = {}
        for key, value in current do
            table.insert(list, `{key} {type(value)}`)
        end
        table.sort(list)
        say(table.concat(list, ","))
    elseif step == 14 then
        current = table.clone(current)
        document.clone = current
    else
        say(select("#", table.unpack(current)))
    end
end
return table.concat(said, "\n")
"##;

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-1000i64..1000).prop_map(Into::into),
        (-1e3..1e3).prop_map(|f: f64| ((f * 4.0).trunc() / 4.0).into()),
        "[a-z\"\n]{0,5}".prop_map(Into::into),
    ];
    let inner = leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec(("[a-d]?", inner), 0..5)
                .prop_map(|entries| { serde_json::Value::Object(entries.into_iter().collect()) }),
        ]
    });
    prop::collection::vec(("[a-d]?", inner), 1..5)
        .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_operations_tell_a_stub_from_a_table(
        document in document(),
        operations: Vec<u8>,
        pretty: bool,
        times in 0..5usize,
    ) {
        let machine = Machine::new();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let text = text.expect("JSON");
        machine.read(&text, times);
        let (whole, stub) = machine.both(&text);
        let run = machine.vm.lua.load(OPERATIONS).set_name("=operations").into_function().expect("it compiles");
        let did = |value: &Lv| {
            let operations: Table = machine.vm.lua.create_sequence_from(operations.clone()).expect("memory");
            let said = match run.call::<String>((value.clone(), operations)) {
                Ok(said) => said,
                Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
            };
            // Which key it is that does not belong to a list depends on where the table has them, which nothing promises.
            let written = machine.written(value);
            let written = written.split(" and the key `").next().unwrap_or_default().to_owned();
            (said, written)
        };
        let expected = did(&whole);
        prop_assert_eq!(did(&stub), expected);
    }
}
