//! `${NAME}` and `${NAME:-otherwise}` in the values of the file: what the environment of the process has under that name.
//!
//! They are filled in when the YAML has been read: whatever a variable holds, it is one value and can add no key. What comes of it is text,
//! and becomes a number or a flag where one is asked for ([`read`]). One that comes out empty counts as left out. `$${` stands for `${`;
//! a `$` before anything else stands for itself.

use super::fault::{Faults, Path, Wrong};
use super::tree::{Node, Value};

/// Longest value with what was filled in; passwords and lists of endpoints have a hundredth of it.
const MOST_BYTES: usize = 64 << 10;
const FORM: &str = "write ${NAME} or ${NAME:-otherwise}; $${ stands for ${ itself";

/// Fills in every value of the tree; what cannot be filled in is reported at its place.
pub(super) fn fill(node: &mut Node, path: &Path, faults: &Faults, variable: &dyn Fn(&str) -> Option<String>) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match filled(text, variable) {
            Ok(filled) => {
                *text = filled;
                node.from_environment = true;
            }
            Err(wrong) => faults.report(path.clone(), node.mark, wrong),
        },
        Value::List(items) => {
            (0..).zip(items).for_each(|(index, item)| fill(item, &path.index(index), faults, variable));
        }
        Value::Map(entries) => {
            entries.iter_mut().for_each(|entry| fill(&mut entry.node, &path.key(&entry.key), faults, variable));
        }
        _ => {}
    }
}

/// Reads a value. One from the environment may be read as a number or a flag too, if that is what it looks like.
pub(super) fn read<T>(node: &Node, read: impl Fn(&Value) -> Result<T, Wrong>) -> Result<T, Wrong> {
    let (wrong, text) = match (read(&node.value), &node.value) {
        (Err(wrong), Value::Text(text)) if node.from_environment => (wrong, text),
        (result, _) => return result,
    };
    let wrong = match plain(text).map(|value| read(&value)) {
        Some(Ok(value)) => return Ok(value),
        Some(Err(wrong)) => wrong,
        None => wrong,
    };
    // A variable may hold a secret that was meant for another key: it is not repeated.
    Err(Wrong::new("what the environment has for it does not fit here", wrong.remedy))
}

/// What a text would have been without quotes, but for text.
fn plain(text: &str) -> Option<Value> {
    match text.trim() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        text => text.parse().ok().map(Value::Integer),
    }
}

fn filled(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out += &rest[..at];
        if out.ends_with('$') {
            out.pop();
            out += "${";
            rest = &rest[at + 2..];
            continue;
        }
        let Some((inside, behind)) = rest[at + 2..].split_once('}') else {
            // What stands around it may be a password: it is not repeated, here and below.
            return Err(Wrong::new("there is a ${ that is not closed", FORM));
        };
        let (name, otherwise) = match inside.split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (inside, None),
        };
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
            return Err(Wrong::new("what stands between ${ and } is not the name of a variable", FORM));
        }
        if otherwise.is_some_and(|otherwise| otherwise.contains("${")) {
            return Err(Wrong::new("one variable stands inside another, which is not filled in", FORM));
        }
        // As in a shell: what is empty counts as not set, where there is something to take instead.
        match (variable(name), otherwise) {
            (Some(value), None) => out += &value,
            (Some(value), Some(_)) if !value.is_empty() => out += &value,
            (_, Some(otherwise)) => out += otherwise,
            (None, None) => {
                return Err(Wrong::new(
                    format!("the environment has no variable {name}"),
                    format!("set it where Larder is started, or write ${{{name}:-otherwise}}"),
                ));
            }
        }
        if out.len() > MOST_BYTES {
            return Err(Wrong::new(format!("with {name} filled in it is longer than 64kb"), "shorten the variable"));
        }
        rest = behind;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    fn with(text: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "HOST" => Some("redis.example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            "LONG" => Some("x".repeat(40 << 10)),
            "TRICKY" => Some("a\n  b: ${HOST} # \"".to_owned()),
            _ => None,
        };
        filled(text, &variable).map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))
    }

    #[test]
    fn variables_are_filled_in_wherever_they_stand() {
        assert_eq!(with("${HOST}:6379").as_deref(), Ok("redis.example.org:6379"));
        assert_eq!(with("a${HOST:-b}c${NONE:-d}e${EMPTY:-f}g${EMPTY}").as_deref(), Ok("aredis.example.orgcdefg"));
        assert_eq!(with("${NONE:-}").as_deref(), Ok(""));
        assert_eq!(with("pa$$word$ $${HOST} $").as_deref(), Ok("pa$$word$ ${HOST} $"));
        assert_eq!(
            with("${TRICKY}").as_deref(),
            Ok("a\n  b: ${HOST} # \""),
            "what a variable holds is not looked into"
        );
    }

    #[test]
    fn what_a_variable_holds_is_never_repeated() {
        let node = |text: &str| Node { mark: None, value: Value::Text(text.to_owned()), from_environment: true };
        for (value, read) in
            [("hunter2", units::count::<u32> as fn(&Value) -> Result<u32, Wrong>), ("99999999999", units::count)]
        {
            let wrong = super::read(&node(value), read).expect_err(value);
            assert!(!format!("{}{}", wrong.problem, wrong.remedy).contains(value), "{}", wrong.problem);
        }
        assert_eq!(super::read(&node("7"), units::count::<u32>).ok(), Some(7));
    }

    #[test]
    fn what_cannot_be_filled_in_says_what_to_write() {
        let wrong = |text: &str| with(text).expect_err(text);
        assert!(wrong("x${NONE}").starts_with("the environment has no variable NONE; set it"), "{}", wrong("x${NONE}"));
        assert!(wrong("${HOST").contains("not closed"));
        assert!(wrong("${}").contains("not the name of a variable"));
        assert!(wrong("${1A}").contains("not the name of a variable"));
        assert!(wrong("${A-b}").contains("not the name of a variable"));
        assert!(wrong("${A:-${B}}").contains("inside another"));
        for text in ["hush${hush", "hush${hush-}", "hush${1hush:-hush}"] {
            assert!(!wrong(text).contains("hush"), "a password may hold such signs: {}", wrong(text));
        }
        assert!(wrong("${LONG}${LONG}").contains("longer than 64kb"));
    }
}
