//! Documents through tables and back.

use super::*;

/// What `res = change(json)` writes.
async fn through(rig: &Rig, document: &str, change: &str) -> String {
    let program = rig
        .compile(&format!(
            "return {{ on_request = function(req) local v = req:json() {change} return reply.json(200, v) end }}"
        ))
        .expect("a program");
    let state = loaded(&*program, "{}").await;
    let said = call(&*program, Hook::OnRequest, fixture::exchange(document), &state, Limits::default()).await;
    said.strip_prefix("200 ").map(str::to_owned).unwrap_or(said)
}

#[test]
fn documents_come_back_as_they_were() {
    block_on(async {
        let rig = Rig::new();
        for document in [
            r#"{"z":1,"a":{"y":[],"x":{},"b":null},"list":[1,"two",3.5,null,true,[]]}"#,
            "[9007199254740992,9007199254740993,-9223372036854775808,18446744073709551615,0.1,1e+300]",
            "[]",
            "{}",
            "null",
            r#""a string with \"quotes\" and \u0000""#,
            r#"[{"b":1,"a":2},{"b":3,"a":4},{"a":5,"b":6}]"#,
            "[null,null]",
        ] {
            assert_eq!(through(&rig, document, "").await, document);
        }
        assert_eq!(through(&rig, r#"{"a":1,"b":2,"a":3}"#, "").await, r#"{"a":3,"b":2}"#);
    });
}

#[test]
fn changed_documents_keep_the_order_of_what_stayed() {
    block_on(async {
        let rig = Rig::new();
        assert_eq!(
            through(&rig, r#"{"z":1,"m":2,"a":3}"#, "v.m = nil; v.y = 4; v.b = 5; v.z = 'new'").await,
            r#"{"z":"new","a":3,"b":5,"y":4}"#
        );
        assert_eq!(through(&rig, "[]", "table.insert(v, 1)").await, "[1]");
        assert_eq!(through(&rig, "[1]", "table.remove(v)").await, "[]");
        assert_eq!(through(&rig, r#"{"a":1}"#, "v = table.clone(v); v.a = nil").await, "{}");
        assert_eq!(
            through(
                &rig,
                r#"{"id":9007199254740993}"#,
                "v.text = 'id ' .. v.id; v.same = v.id == v.id; v.next = v.id + 1"
            )
            .await,
            r#"{"id":9007199254740993,"next":9007199254740992,"same":true,"text":"id 9007199254740993"}"#
        );
        let many: Vec<String> = (0..40).rev().map(|n| format!("\"k{n}\":{n}")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(through(&rig, &many, "v.a = 1").await, format!("{},\"a\":1}}", &many[..many.len() - 1]));
    });
}

#[test]
fn tables_of_scripts_become_arrays_or_objects() {
    block_on(async {
        let rig = Rig::new();
        for (value, written) in [
            ("{}", "{}"),
            ("{ 1, 2, 3 }", "[1,2,3]"),
            ("{ [3] = 'c', [2] = 'b', [1] = 'a' }", r#"["a","b","c"]"#),
            ("{ b = 1, a = 2, ['\\u{e9}'] = 3, B = 4 }", r#"{"B":4,"a":2,"b":1,"é":3}"#),
            ("0/0", "null"),
            ("1/0", "null"),
            ("20.0", "20"),
            ("-0.5", "-0.5"),
            ("nil", "null"),
            ("'bad \\255 bytes'", "\"bad \u{fffd} bytes\""),
        ] {
            assert_eq!(
                rig.request(&format!("return reply.json(200, {value})")).await,
                format!("200 {written}"),
                "{value}"
            );
        }
        for (value, message) in [
            ("{ 1, x = 2 }", "a table with items 1 to 1 and the key `x` is neither an array nor an object"),
            (
                "{ orders = { 1, 2, { 1, x = print } } }",
                "orders[3]: a table with items 1 to 1 and the key `x` is neither an array nor an object",
            ),
            (
                "{ [5] = 1 }",
                "the key 5 is a number, and the table is no sequence from 1: use tostring(5), or fill the holes with json.null",
            ),
            ("{ [true] = 1 }", "a boolean can't be the key of a JSON object"),
            ("{ a = coroutine.create(print) }", "a: a coroutine can't be JSON"),
            ("{ a = req }", "a: a request can't be JSON"),
            (
                "(function() local t = {}; t.t = t; return t end)()",
                "t.t.t.t.t.t.t.t…: nested deeper than 128 levels: does it contain itself?",
            ),
        ] {
            assert_eq!(
                rig.request(&format!("return reply.json(200, {value})")).await,
                format!("Runtime test.lua:1: reply.json: argument 2 (value): {message}"),
                "{value}"
            );
        }
    });
}

#[test]
fn what_is_not_json_is_refused() {
    block_on(async {
        let rig = Rig::new();
        // A client's mistake is answered as one; nothing at all is nothing.
        assert_eq!(through(&rig, "", "").await, "null");
        for text in ["{\"a\":", "[1] x", &"[".repeat(200)] {
            assert_eq!(through(&rig, text, "").await, "400 problem: the request body is not JSON", "{text}");
        }
        for (text, why) in [
            ("", "it is empty"),
            ("{\"a\":", "EOF while parsing a value at line 1 column 5"),
            ("[1] x", "trailing characters at line 1 column 5"),
            (&"[".repeat(200), "recursion limit exceeded at line 1 column 128"),
        ] {
            assert_eq!(
                rig.request(&format!("json.decode({text:?})")).await,
                format!("Runtime test.lua:1: json.decode: not JSON: {why}")
            );
        }
        assert_eq!(
            through(&rig, r#"{"a":1}"#, "setmetatable(v, {})").await,
            "Runtime test.lua:1: cannot change a protected metatable"
        );
    });
}

#[test]
fn tables_that_are_made_again_are_written_alike() {
    block_on(async {
        let rig = Rig::new();
        // The same keys put in in two ways, one with another value each time, more of them than are remembered, and ids for keys.
        let change = r#"
            local seen = {}
            for n = 1, 5 do
                local back = {}
                back.id = n
                back["a \"b\""] = { z = n, y = { n } }
                local wide, ids = {}, {}
                for k = 1, 20 do wide["k" .. k % 10 .. k] = n end
                ids["id" .. n] = n
                local texts = {}
                for _, one in { { ["a \"b\""] = { z = n, y = { n } }, id = n }, back, wide, ids, { [true] = n } } do
                    local ok, text = pcall(json.encode, one)
                    table.insert(texts, (string.gsub(text, "%d", "N")))
                end
                table.insert(seen, table.concat(texts, " "))
            end
            v = { seen[1], seen[2] == seen[1], seen[3] == seen[1], seen[5] == seen[1] }"#;
        let said = through(&rig, "{}", change).await;
        let two = r#"{\"a \\\"b\\\"\":{\"y\":[N],\"z\":N},\"id\":N}"#;
        assert!(said.starts_with(&format!("[\"{two} {two} {{\\\"kNNN\\\":N,")), "{said}");
        assert!(said.ends_with(",true,true,true]"), "{said}");
        let wrong = r#"
            local whys = {}
            for n = 1, 4 do
                local value = if n == 4 then print else n
                local ok, why = pcall(json.encode, { outer = { first = 1, inner = value } })
                whys[n] = why
            end
            v = whys"#;
        assert_eq!(
            through(&rig, "{}", wrong).await,
            r#"["{\"outer\":{\"first\":1,\"inner\":1}}","{\"outer\":{\"first\":1,\"inner\":2}}","{\"outer\":{\"first\":1,\"inner\":3}}","json.encode: argument 1 (value): outer.inner: a function can't be JSON"]"#
        );
    });
}
