//! The cases of `xml-to-json`: what becomes of an element, and which documents are refused.

use super::{Case, case, cases::get};
use crate::support::{Request, reply, upstream::UpstreamReply, wire::Received};
use serde_json::json;

const ORDER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- a > b --><order id="7" note='a>b &amp; "c" &#x1F600;'>
  <customer>Ada &lt;Lovelace&gt; &#8364;</customer><empty/><none></none >
  <item n="1">tea</item><tag>a</tag><tag>b</tag><tag>c</tag>
  <raw><![CDATA[<b> & ]]>!<!-- <c> <d>--></raw> mixed
</order>"#;

/// Documents that are refused, and why.
const REFUSED: [(&str, &str, &str); 18] = [
    ("/crossed", "<a><b></a></b>", "is not well-formed"),
    ("/open", "<a>", "is not well-formed"),
    ("/cut", "<a></a", "is not well-formed"),
    ("/after", "<a/>x", "is not well-formed"),
    ("/two", "<a/><b/>", "has two roots"),
    ("/none", "no", "is not well-formed"),
    ("/name", "<1/>", "is not well-formed"),
    ("/unquoted", "<a b=1/>", "is not well-formed"),
    ("/twice", "<a b='1' b='2'/>", "says an attribute twice"),
    ("/comment", "<a><!--> <b></a>", "is not well-formed"),
    ("/cdata", "<a><![CDATA[ x </a>", "is not well-formed"),
    ("/laughs", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "has a DOCTYPE"),
    ("/entity", "<a>&x;</a>", "has an entity that is not known"),
    ("/ampersand", "<a>b & c</a>", "has an entity that is not known"),
    ("/zero", "<a>&#0;</a>", "has a character that there is not"),
    ("/half", "<a>&#xD800;</a>", "has a character that there is not"),
    ("/latin", "<?xml version='1.0' encoding='latin-1'?><a/>", "is not in UTF-8"),
    ("/far", "<a>&#x110000;</a>", "has a character that there is not"),
];

pub fn legacy(request: &Received) -> UpstreamReply {
    let xml = |text: &str| reply(200, text).header("content-type", "application/xml; charset=utf-8");
    match request.target.as_str() {
        "/order" => xml(ORDER),
        "/item" => reply(404, "<e:item/>").header("content-type", "application/problem+xml"),
        "/text" => reply(200, "<a/>").header("content-type", "text/plain"),
        "/deep" => xml(&["<a>".repeat(33), "</a>".repeat(33)].concat()),
        "/long" => xml(&format!("<a>{}</a>", "x".repeat(65_536))),
        other => xml(REFUSED.iter().find(|(path, ..)| *path == other).map_or("", |(_, text, _)| text)),
    }
}

pub fn xml_to_json() -> Vec<Case> {
    let refused = |path, why| case(path, get(path)).status(502).says(why);
    let mut cases = vec![
        case("elements, attributes and lists", get("/order")).header("content-type", "application/json").json(json!({
            "order": {
                "@id": "7", "@note": "a>b & \"c\" \u{1f600}", "customer": "Ada <Lovelace> €", "empty": "", "none": "",
                "item": [{ "@n": "1", "#text": "tea" }], "tag": ["a", "b", "c"], "raw": "<b> & !", "#text": "mixed",
            },
        })),
        case("prefixes stay, and so does the status", get("/item")).status(404).json(json!({ "e:item": "" })),
        case("what is no XML is left alone", get("/text")).says("<a/>"),
        case("a HEAD has no body", Request::new("HEAD", "/order")),
        refused("/deep", "is deeper than 32"),
        refused("/long", "is longer than 65536 bytes"),
    ];
    cases.extend(REFUSED.map(|(path, _, why)| refused(path, why)));
    cases
}
