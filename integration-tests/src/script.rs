//! The script of commands whose replies must be Redis's own, byte for byte.
//!
//! It is data: `script/*.txt`, one command a line in redis-cli's quoting, `<n>` for n bytes of filling, and `=` before
//! a read that the near-cache may answer. What may differ, and why, is the list in [`comparison`] and nowhere else. [`key_value`]
//! is a script of its own for every backend that has keys and values. [`play`] sends either.

pub mod comparison;
pub mod key_value;
pub mod play;

/// One line of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command and its arguments.
    pub args: Vec<Vec<u8>>,
    /// How often it is sent, and whether again at the end.
    pub kind: Kind,
}

/// What the script says about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sent once.
    Once,
    /// A read that may come from the cache: sent twice in a row, and again at the end of the script.
    CacheableRead,
}

/// In this order: later files use keys of earlier ones. (Transactions are first because there is a FLUSHALL among them,
/// behind which nothing would be left in the cache for the reads at the end.)
const FILES: [&str; 13] = [
    include_str!("../script/transactions.txt"),
    include_str!("../script/blocking.txt"),
    include_str!("../script/strings.txt"),
    include_str!("../script/bits.txt"),
    include_str!("../script/hashes.txt"),
    include_str!("../script/lists.txt"),
    include_str!("../script/sets.txt"),
    include_str!("../script/sorted_sets.txt"),
    include_str!("../script/geo.txt"),
    include_str!("../script/streams.txt"),
    include_str!("../script/keyspace.txt"),
    include_str!("../script/scripting.txt"),
    include_str!("../script/server.txt"),
];

/// The lines of the script.
pub fn steps() -> Vec<Step> {
    FILES.iter().flat_map(|file| lines(file)).collect()
}

/// The steps of one file.
fn lines(file: &str) -> impl Iterator<Item = Step> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(step)
}

/// The commands in the order in which they are sent: every line, cacheable reads twice; then all those reads again;
/// then FLUSHALL and all of them once more, which must find nothing.
pub fn commands() -> Vec<Vec<Vec<u8>>> {
    let steps = steps();
    let reads = || steps.iter().filter(|step| step.kind == Kind::CacheableRead).map(|step| step.args.clone());
    let mut commands = Vec::new();
    for step in &steps {
        commands.push(step.args.clone());
        if step.kind == Kind::CacheableRead {
            commands.push(step.args.clone());
        }
    }
    commands.extend(reads());
    commands.push(vec![b"FLUSHALL".to_vec()]);
    commands.extend(reads());
    commands
}

fn step(line: &str) -> Step {
    let (kind, rest) = match line.strip_prefix("= ") {
        Some(rest) => (Kind::CacheableRead, rest),
        None => (Kind::Once, line),
    };
    Step { args: split(rest), kind }
}

/// Splits a line into arguments: words, `"..."` with `\n \r \t \" \\ \xHH`, and `<n>`.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut args = Vec::new();
    let mut rest = line.as_bytes();
    while let Some(&first) = rest.first() {
        if first == b' ' {
            rest = &rest[1..];
        } else if first == b'"' {
            let (arg, after) = quoted(&rest[1..], line);
            args.push(arg);
            rest = after;
        } else {
            let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
            args.push(word(&rest[..end]));
            rest = &rest[end..];
        }
    }
    args
}

fn word(word: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(word).ok();
    let length = text.and_then(|text| text.strip_prefix('<')?.strip_suffix('>')?.parse().ok());
    match length {
        // Not all the same byte, so that a wrong offset shows.
        Some(length) => (b'a'..=b'z').cycle().take(length).collect(),
        None => word.to_vec(),
    }
}

fn quoted<'a>(mut rest: &'a [u8], line: &str) -> (Vec<u8>, &'a [u8]) {
    let mut arg = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return (arg, after),
            [b'\\', b'x', high, low, after @ ..] => {
                let digits = String::from_utf8_lossy(&[*high, *low]).into_owned();
                let byte = u8::from_str_radix(&digits, 16);
                arg.push(byte.unwrap_or_else(|_| panic!("\\x{digits} in the script: {line}")));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                arg.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                arg.push(*byte);
                rest = after;
            }
            [] => panic!("a quote is not closed in the script: {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_redis_cli_would() {
        let step = step(r#"= GET "a\x00\r\n\"b" <3> "" c"#);
        assert_eq!(step.kind, Kind::CacheableRead);
        let args: [&[u8]; 5] = [b"GET", b"a\0\r\n\"b", b"abc", b"", b"c"];
        assert_eq!(step.args, args);
    }

    #[test]
    fn the_script_is_long_and_repeats_its_reads() {
        let (steps, commands) = (steps(), commands());
        assert!(steps.len() > 1000, "{} lines", steps.len());
        let reads = steps.iter().filter(|step| step.kind == Kind::CacheableRead).count();
        assert_eq!(commands.len(), steps.len() + 3 * reads + 1);
    }
}
