//! The replies of COMMAND and its subcommands, as redis-server 7.0 gives them.
//!
//! A row's own part is rendered when the table is made; a reply is put together from such parts, so that even the whole
//! of COMMAND DOCS costs a few copies.

use super::Quoted;
use super::columns::Options;
use super::keys::{Begin, Find, Found, KeyFlags, options};
use super::pattern;
use super::refusal::CommandError;
use super::spec::{Flags, Spec};
use super::table::Table;
use crate::resp::{Command, Proto, encode};

#[cfg(test)]
mod tests;

const SYNTAX_ERROR: &str = "ERR syntax error";

/// COMMAND HELP.
const HELP: [&str; 21] = [
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
    "HELP",
    "    Prints this help.",
];

/// Appends the reply to `cmd`, a COMMAND with or without a subcommand.
pub fn reply(table: &Table, cmd: &Command<'_>, proto: Proto, out: &mut Vec<u8>) {
    let spec = match table.resolve(cmd) {
        Ok(spec) => spec,
        Err(error) => return error.write(out),
    };
    match &*spec.name {
        "command" | "command|info" => infos(table, cmd, proto, out),
        "command|count" => encode::integer(out, i64::try_from(table.iter().len()).unwrap_or(i64::MAX)),
        "command|docs" => docs(table, cmd, proto, out),
        "command|getkeys" => keys(table, cmd, Shown::Keys, proto, out),
        "command|getkeysandflags" => keys(table, cmd, Shown::KeysAndFlags, proto, out),
        "command|list" => list(table, cmd, out),
        "command|help" => {
            encode::array(out, HELP.len());
            HELP.iter().for_each(|line| encode::simple(out, line));
        }
        // A subcommand that only the upstream knows: it is answered here, hence not at all.
        _ => {
            let container = table.find(cmd.name()).unwrap_or(spec);
            let name = cmd.opt(1).unwrap_or_default();
            CommandError::unknown_subcommand(container, name).write(out);
        }
    }
}

// === COMMAND INFO ===

fn infos(table: &Table, cmd: &Command<'_>, proto: Proto, out: &mut Vec<u8>) {
    if cmd.len() <= 2 {
        encode::array(out, table.iter().len());
        table.iter().for_each(|spec| info(spec, proto, out));
        return;
    }
    encode::array(out, cmd.len() - 2);
    for name in cmd.args(2) {
        match table.find_full(name) {
            Some(spec) => info(spec, proto, out),
            None => encode::null(out, proto),
        }
    }
}

/// One row of COMMAND INFO.
fn info(spec: &Spec, proto: Proto, out: &mut Vec<u8>) {
    encode::array(out, 10);
    out.extend_from_slice(spec.info.bytes(proto));
    match spec.subcommands.len() {
        // Redis writes no subcommands as an empty set, and some as an array.
        0 => encode::set(out, proto, 0),
        count => encode::array(out, count),
    }
    spec.subcommands.iter().for_each(|sub| info(sub, proto, out));
}

// === COMMAND DOCS ===

fn docs(table: &Table, cmd: &Command<'_>, proto: Proto, out: &mut Vec<u8>) {
    let specs: Vec<&Spec> = if cmd.len() == 2 {
        table.iter().map(|spec| &**spec).collect()
    } else {
        cmd.args(2).filter_map(|name| table.find_full(name)).map(|spec| &**spec).collect()
    };
    documents(&specs, proto, out);
}

/// A map of names to entries, of the rows that have one.
fn documents(specs: &[&Spec], proto: Proto, out: &mut Vec<u8>) {
    let documented = specs.iter().filter_map(|spec| spec.docs.as_ref().map(|docs| (spec, docs)));
    encode::map(out, proto, documented.clone().count());
    for (spec, docs) in documented {
        let subcommands: Vec<&Spec> =
            spec.subcommands.iter().map(|sub| &**sub).filter(|sub| sub.docs.is_some()).collect();
        encode::bulk(out, spec.name.as_bytes());
        encode::map(out, proto, docs.fields + usize::from(!subcommands.is_empty()));
        out.extend_from_slice(docs.body.bytes(proto));
        if !subcommands.is_empty() {
            encode::bulk(out, b"subcommands");
            // Only containers have subcommands: this goes one level deep.
            documents(&subcommands, proto, out);
        }
    }
}

// === COMMAND LIST ===

fn list(table: &Table, cmd: &Command<'_>, out: &mut Vec<u8>) {
    match cmd.len() {
        2 => names(table, |_| true, out),
        5 if cmd.is(2, "filterby") => {
            let value = cmd.arg(4);
            if cmd.is(3, "pattern") {
                names(table, |spec| pattern::matches(value, spec.name.as_bytes()), out);
            } else if cmd.is(3, "aclcat") {
                names(table, |spec| in_category(spec, value), out);
            } else if cmd.is(3, "module") {
                // COMMAND does not tell which module a command comes from, so no module is known here.
                names(table, |_| false, out);
            } else {
                encode::error(out, SYNTAX_ERROR);
            }
        }
        _ => encode::error(out, SYNTAX_ERROR),
    }
}

fn in_category(spec: &Spec, name: &[u8]) -> bool {
    let bare = |category: &str| category.trim_start_matches('@').as_bytes().eq_ignore_ascii_case(name);
    spec.categories.iter().any(|category| bare(category))
}

fn names(table: &Table, wanted: impl Fn(&Spec) -> bool, out: &mut Vec<u8>) {
    let all = table.iter().flat_map(|spec| std::iter::once(spec).chain(&spec.subcommands));
    let names: Vec<&str> = all.filter(|spec| wanted(spec)).map(|spec| &*spec.name).collect();
    encode::array(out, names.len());
    names.iter().for_each(|name| encode::bulk(out, name.as_bytes()));
}

// === COMMAND GETKEYS ===

enum Shown {
    Keys,
    KeysAndFlags,
}

fn keys(table: &Table, cmd: &Command<'_>, shown: Shown, proto: Proto, out: &mut Vec<u8>) {
    let quoted = Quoted::new(cmd.args(2));
    let Some(quoted) = quoted.as_ref().map(Quoted::command) else {
        return encode::error(out, SYNTAX_ERROR);
    };
    let Ok(spec) = table.lookup(&quoted) else {
        return encode::error(out, "ERR Invalid command specified");
    };
    if spec.keys.iter().all(|keys| keys.flags.has(KeyFlags::NOT_KEY)) {
        return encode::error(out, "ERR The command has no key arguments");
    }
    if !spec.admits(quoted.len()) {
        return encode::error(out, "ERR Invalid number of arguments specified for command");
    }
    let found = by_specs(spec, &quoted).unwrap_or_else(|| by_grammar(spec, &quoted));
    if found.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return encode::error(out, "ERR Invalid arguments specified for command");
    }
    encode::array(out, found.len());
    for (key, flags) in found {
        match shown {
            Shown::Keys => encode::bulk(out, quoted.arg(key)),
            Shown::KeysAndFlags => {
                encode::array(out, 2);
                encode::bulk(out, quoted.arg(key));
                encode::set(out, proto, flags.words().count());
                flags.words().for_each(|word| encode::simple(out, word));
            }
        }
    }
}

/// The keys by the specs; `None` where Redis does not rely on them. Unlike [`super::for_each_key`] this shows what Redis
/// shows, even where its command would see other keys.
fn by_specs(spec: &Spec, cmd: &Command<'_>) -> Option<Vec<(usize, KeyFlags)>> {
    if spec.keys.iter().any(|keys| keys.flags.has(KeyFlags::VARIABLE)) {
        return None;
    }
    let mut found = Vec::new();
    for keys in spec.keys.iter().filter(|keys| !keys.flags.has(KeyFlags::NOT_KEY)) {
        match keys.find_in(cmd) {
            Found::Keys { first, last, step } if !keys.flags.has(KeyFlags::INCOMPLETE) => {
                found.extend((first..=last).step_by(step).map(|key| (key, keys.flags)));
            }
            _ => return None,
        }
    }
    Some(found)
}

/// The keys by the grammar of the command, where the specs do not tell them.
fn by_grammar(spec: &Spec, cmd: &Command<'_>) -> Vec<(usize, KeyFlags)> {
    const READ: KeyFlags = KeyFlags::RO.with(KeyFlags::ACCESS);
    const OVERWRITE: KeyFlags = KeyFlags::OW.with(KeyFlags::UPDATE);
    const CHANGE: KeyFlags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE);
    const TAKE: KeyFlags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE);
    match spec.options {
        Options::Set => vec![(1, if options::set_reads(cmd) { CHANGE } else { OVERWRITE })],
        Options::Bitfield => vec![(1, if options::bitfield_reads(cmd) { READ } else { CHANGE })],
        Options::Sort => {
            let store = options::sort_store_shown(cmd).filter(|_| !spec.flags.has(Flags::READONLY));
            std::iter::once((1, READ)).chain(store.map(|key| (key, OVERWRITE))).collect()
        }
        Options::Georadius => {
            let store = options::georadius_store_shown(spec, cmd);
            std::iter::once((1, READ)).chain(store.map(|key| (key, OVERWRITE))).collect()
        }
        Options::Migrate => match options::migrate_keys(cmd) {
            Some(first) if cmd.arg(3).is_empty() => (first..cmd.len()).map(|key| (key, TAKE)).collect(),
            Some(_) => Vec::new(),
            None => vec![(3, TAKE)],
        },
        // Their specs tell all that Redis shows.
        Options::Streams => Vec::new(),
        Options::Plain | Options::Scores | Options::Audience => by_loose_number(spec, cmd),
    }
}

/// Where an argument says how many keys there are, Redis reads it once strictly and then again like C's `atoi`; the
/// destination of the keys comes last then, and none has flags.
fn by_loose_number(spec: &Spec, cmd: &Command<'_>) -> Vec<(usize, KeyFlags)> {
    let mut found = Vec::new();
    let mut destination = None;
    for keys in &spec.keys {
        match (&keys.begin, keys.find) {
            (Begin::Index(begin), Find::KeyNum { at, first, step }) => {
                let count = cmd.opt(begin + at).map_or(0, loose_number);
                let first = begin + first;
                if count == 0 || count > cmd.len().saturating_sub(first) / step {
                    return Vec::new();
                }
                found.extend((0..count).map(|i| (first + i * step, KeyFlags::default())));
            }
            (Begin::Index(begin), _) => destination = Some((*begin, KeyFlags::default())),
            _ => {}
        }
    }
    if !found.is_empty() {
        found.extend(destination);
    }
    found
}

fn loose_number(arg: &[u8]) -> usize {
    let digits = arg.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
}
