//! The keys of `plugin.toml`.

use super::{Section, key};

pub const MANIFEST_SECTIONS: &[&Section] = &[&MANIFEST, &PERMISSIONS, &FIELD];

#[rustfmt::skip] // One key a line reads as the table it is.
pub const MANIFEST: Section = Section {
    name: "a plugin manifest",
    at: "plugin.toml",
    doc: "What a plugin is, needs, and can be told. For a single file it is the first comment, beginning with `plugin.toml`.",
    keys: &[
        key("name", "string", "the folder's or file's", "must be that of the folder or file"),
        key("version", "string", "", "the plugin's own"),
        key("kind", "kind", "other", "`auth`, `traffic`, `transform`, `validate`, `respond`, `observe` or `other`; one of kind `auth` can't be told to go on after an error"),
        key("description", "string", "", "one sentence"),
        key("permissions", "permissions", "{}", "what it may reach"),
        key("config", "mapping of fields", "{}", "the keys of its `config`"),
        key("additional_keys", "boolean", "false", "pass keys on that are not listed under `config`"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const PERMISSIONS: Section = Section {
    name: "permissions",
    at: "plugin.toml, permissions",
    doc: "What a plugin may reach beyond the gateway's own services.",
    keys: &[
        key("hosts", "list of hosts", "[]", "for `http`: `api.example.com` (at 443, or 80 for `http`), `api.example.com:8443`, `*.example.com`, `https://api.example.com`, an address or a network. A name that leads to a private address or this machine is refused unless that address or its network is named too; redirects are not followed"),
        key("env", "list of names", "[]", "environment variables, for `env`"),
        key("redis", "list of prefixes", "[]", "of the keys it may use, for `redis`; none written: any. With prefixes, commands without keys (`FLUSHALL`, `KEYS`) are refused"),
        key("redis_scripts", "boolean", "false", "with prefixes: whether `redis.script` may be used, whose source can touch any key"),
        key("headers", "list of names", "", "headers it may write in requests, responses and replies, `x-user-*` for all that begin so; not written: any. What the gateway sets itself, such as a reply's content type or a redirect's location, needs none"),
    ],
    kong: &[],
};

#[rustfmt::skip]
pub const FIELD: Section = Section {
    name: "a field",
    at: "plugin.toml, config.NAME",
    doc: "One key of a plugin's `config`.",
    keys: &[
        key("type", "type", "", "required: `string`, `integer`, `number`, `boolean`, `duration` (seconds, for the script), `size` (bytes), `list`, `map`, `any`, `openapi` (a document, or the path of its file from the configuration) or `url` (beginning with `https://`, `http://` or `svc://`: whoever configures it permits calls to its host, to an address only where the URL has that address itself)"),
        key("items", "type or field", "any", "of a list's items, or a map's values"),
        key("fields", "mapping of fields", "", "of a map: the keys it has"),
        key("default", "value", "", "when the key is not written"),
        key("required", "boolean", "false", "must be written"),
        key("min", "number", "", "of a number, a duration, a size; of a string's, list's or map's length"),
        key("max", "number", "", "likewise"),
        key("one_of", "list", "", "the only values there are"),
        key("pattern", "regex", "", "that a string must match somewhere; `^` and `$` are its begin and end"),
        key("secret", "boolean", "false", "never shown"),
        key("description", "string", "", "one sentence"),
    ],
    kong: &[],
};
