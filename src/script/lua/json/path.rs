//! What is wrong with a value that can't be JSON, and where in it.

use crate::script::{json, lua::convert::describe};
use mlua::Value;

/// What a value could not be written for. The path is gathered while the error climbs, innermost first.
pub enum Unwritten {
    Here(String, Vec<Step>),
    Lua(mlua::Error),
}

pub enum Step {
    Key(String),
    Index(usize),
}

impl From<mlua::Error> for Unwritten {
    fn from(error: mlua::Error) -> Unwritten {
        Unwritten::Lua(error)
    }
}

pub fn here(message: String) -> Unwritten {
    Unwritten::Here(message, Vec::new())
}

pub fn within(unwritten: Unwritten, step: impl FnOnce() -> Step) -> Unwritten {
    match unwritten {
        Unwritten::Here(message, mut path) => {
            path.push(step());
            Unwritten::Here(message, path)
        }
        other => other,
    }
}

pub fn not_a_sequence(key: &Value, length: usize) -> String {
    match key {
        Value::String(key) => {
            format!(
                "a table with items 1 to {length} and the key `{}` is neither an array nor an object",
                key.to_string_lossy()
            )
        }
        _ => format!("an array with holes can't be JSON: {} is no item of 1 to {length}", show_key(key)),
    }
}

pub fn not_a_key(key: &Value) -> String {
    match key {
        Value::Integer(_) | Value::Number(_) => {
            let key = show_key(key);
            format!(
                "the key {key} is a number, and the table is no sequence from 1: use tostring({key}), or fill the holes with json.null"
            )
        }
        other => format!("{} can't be the key of a JSON object", describe(other)),
    }
}

fn show_key(key: &Value) -> String {
    match key {
        Value::Integer(i) => i.to_string(),
        Value::Number(f) => json::number(*f),
        other => describe(other),
    }
}

/// `orders[3].x`, from the outermost step; the middle of a long path is left out.
pub fn show(path: &[Step]) -> String {
    const SHOWN: usize = 8;
    let mut shown = String::new();
    for (depth, step) in path.iter().rev().enumerate() {
        if depth == SHOWN {
            shown.push('…');
            break;
        }
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => {
                shown.push('.');
                shown.push_str(key);
            }
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    shown
}
