//! Messages, as their readers see them.

use super::*;

fn refused(text: &str) -> String {
    refused_with(text, &[])
}

fn refused_with(text: &str, library: &[(&'static str, &'static str)]) -> String {
    match compile_with(&engine(), text, library) {
        Ok(_) => "it compiles".into(),
        Err(error) => error.to_string(),
    }
}

async fn failed(text: &str) -> ScriptError {
    let program = compile(text);
    let state = load(&program, "{}").await;
    match program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(exchange("{}"))), &state).await {
        Ok(decision) => panic!("{decision:?}"),
        Err(error) => error,
    }
}

#[test]
fn what_can_be_said_without_a_request_is_said_when_compiling() {
    assert_eq!(refused("fn on_request(req, ctx) {\n  let x = ;\n}"), "test.rhai:2:11: unexpected ';'");
    assert_eq!(refused("fn on_request(req) { }"), "test.rhai:1:4: the hook `on_request` takes (req, ctx), not (req)");
    assert_eq!(
        refused("\nfn on_requst(req, ctx) { }"),
        "test.rhai:2:4: there is no hook `on_requst`, did you mean `on_request`?"
    );
    assert_eq!(refused("fn handel(req, ctx) { }"), "test.rhai:1:4: there is no hook `handel`, did you mean `handle`?");
    assert_eq!(refused("fn handler(x) { x }"), "it compiles");
    assert_eq!(refused("fn on_log(ctx) { xy }"), "test.rhai:1:18: `xy` is not defined");
    assert_eq!(refused("fn on_log(ctx) { htp::get(1) }"), "test.rhai:1:18: there is no module `htp`");
    assert_eq!(refused("fn on_log(ctx) { eval(\"1\") }"), "test.rhai:1:18: reserved keyword 'eval' is disabled");
    assert_eq!(refused("let x = 1;\nthrow \"top\";"), "test.rhai:2:1: top");
    assert_eq!(
        refused("http::get(\"svc://a/b\");"),
        "test.rhai:1:7: http::get: can't be called while a file is loaded: call it from on_load or another hook"
    );
    assert_eq!(refused("\n loop { }"), "test.rhai:2:2: stopped: it used up its CPU time");
}

#[test]
fn imports_are_checked_when_compiling() {
    assert_eq!(refused("import \"lib/x\" as x;"), "test.rhai:1:1: there is no module `lib/x`");
    assert_eq!(
        refused_with("import \"a\" as a;", &[("a", "import \"b\" as b;"), ("b", "\nimport \"a\" as a;")]),
        "plugins/b.rhai:2:1: modules import each other: `a` → `b` → `a`"
    );
    assert_eq!(
        refused_with("import \"a\" as a;", &[("a", "fn f() {\n  let = 1;\n}")]),
        "plugins/a.rhai:2:7: expecting name of a variable"
    );
    assert_eq!(
        refused("fn f(x) { import x as y; }"),
        "test.rhai:1:11: what is imported must be named by a string literal"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn errors_name_file_line_and_calls() {
    let error = failed(
        "fn inner(x) {\n    throw \"no \" + x;\n}\nfn outer() { inner(\"key\") }\nfn on_request(req, ctx) { outer() }",
    )
    .await;
    assert_eq!(error.to_string(), "test.rhai:2:5: no key");
    assert_eq!(error.source_line, "    throw \"no \" + x;");
    assert_eq!(error.stack, ["test.rhai:2 in inner", "test.rhai:4 in outer", "test.rhai:5 in on_request"]);
    assert_eq!(error.hook, Some(Hook::OnRequest));
}

#[tokio::test(flavor = "current_thread")]
async fn errors_in_modules_name_the_module() {
    let program = compile_with(
        &engine(),
        "import \"lib/x\" as x;\nfn on_request(req, ctx) { x::f() }",
        &[("lib/x", "\nfn g() {\n  throw \"deep\" }\nfn f() { g() }")],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let state = load(&program, "{}").await;
    let error = program.call(Hook::OnRequest, scope(Hook::OnRequest, Some(exchange(""))), &state).await.unwrap_err();
    assert_eq!(error.to_string(), "plugins/lib/x.rhai:3:3: deep");
    assert_eq!(error.source_line, "  throw \"deep\" }");
    assert_eq!(error.stack, ["plugins/lib/x.rhai:3 in g", "plugins/lib/x.rhai:4 in f", "test.rhai:2 in on_request"]);
}

#[tokio::test(flavor = "current_thread")]
async fn messages_help() {
    let said = async |body: &str| {
        let error = failed(&format!("fn helper(a) {{ a }} fn on_request(req, ctx) {{ {body} }}")).await;
        match error.help {
            Some(help) => format!("{} ({help})", error.message),
            None => error.message,
        }
    };
    assert_eq!(said("req.pth").await, "request has no `pth`, did you mean `path`?");
    assert_eq!(said("req.pth = 1").await, "request has no `pth`, did you mean `path`?");
    assert_eq!(said("req.jsn()").await, "request has no `jsn`, did you mean `json`?");
    assert_eq!(said("req.hosts()").await, "request has no `hosts`, did you mean `host`?");
    assert_eq!(said("req.host = \"x\"").await, "`host` of request can't be set");
    assert_eq!(said("req.headers = ctx.client").await, "`headers` of request can't be set");
    assert_eq!(said("req.params.id = 8").await, "`id` of params can't be set");
    assert_eq!(said("http::get()").await, "http::get: argument 1 (url) is missing");
    assert_eq!(said("http::get(7)").await, "http::get: argument 1 (url): expected a string, got a number");
    assert_eq!(
        said("http::get(\"a\", #{ timout: 1 })").await,
        "http::get: argument 2 (options): unknown entry `timout`, did you mean `timeout`?"
    );
    assert_eq!(said("http::get(\"a\", #{}, 3)").await, "http::get: takes at most 2 arguments, got 3");
    assert_eq!(
        said("http::gte(\"a\")").await,
        "there is no function `http::gte` for (string) (did you mean `http::get`?)"
    );
    assert_eq!(said("helpr(1)").await, "there is no function `helpr` for (number) (did you mean `helper`?)");
    assert_eq!(
        said("helper()").await,
        "there is no function `helper` for () (`helper` takes another number of arguments)"
    );
    assert_eq!(
        said("let x = (); x.y").await,
        "nothing has no `y` (the value before the dot is `()`; write `?.` where it may be)"
    );
    assert_eq!(said("let x = (); x[1]").await, "nothing can't be indexed (the value before the bracket is `()`)");
    assert_eq!(said("1 + #{}").await, "`+` does not work with (number, map)");
    assert_eq!(
        said("req.text().len()").await,
        "on_request returned a number (return nothing, or a reply such as `reply::json(200, value)`; a function returns its last expression, also before a `;`: end it with `return;`)"
    );
    assert_eq!(said("req.headers[\"a b\"]").await, "headers[\"a b\"]: `a b` is not a header name");
    assert_eq!(
        said("req.headers[\"a\"] = \"x\\r\\ny\"").await,
        "headers[\"a\"]: a header value has a control character in it"
    );
    assert_eq!(said("req.method = 1").await, "request.method: expected a string, got a number");
    assert_eq!(
        said("reply::json(200, #{ orders: [1, #{ x: |a| a }] })").await,
        "reply::json: argument 2 (value): orders[1].x: a function can't be JSON"
    );
    assert_eq!(said("throw #{ code: 7 }").await, "raised {\"code\":7}");
    assert_eq!(said("let n = 0; for x in req { n += 1; }").await, "a request has no items to go through");
    assert_eq!(said("Fn(\"sleep\").call(1)").await, "there is no sleep in a gateway");
    assert_eq!(said("Fn(\"eval\").call(\"1\")").await, "syntax error: 'eval' is a reserved keyword");
}
