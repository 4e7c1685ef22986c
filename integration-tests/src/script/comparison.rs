//! How two replies to the same command are compared: byte for byte, but for the list here.

use crate::reply::{self, Reply};

/// A way to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same bytes.
    Bytes,
    /// The same members in any order: the order follows a hash seed that each server draws at its start.
    Members,
    /// The same kind of reply: the content is the server's own or depends on the clock.
    Kind,
    /// The same bytes, or an error of Larder's: a command that it does not hand to an origin shared by others.
    BytesOrRefused,
}

/// The exceptions: the command's first words, how its replies are compared, and why.
pub const EXCEPTIONS: &[(&str, Comparison, &str)] = &[
    ("SMEMBERS", Comparison::Members, "a set of strings is a hash table in Redis 7.0"),
    ("SUNION", Comparison::Members, "the result is gathered in a hash table"),
    ("SSCAN", Comparison::Members, "as SMEMBERS"),
    ("COMMAND LIST", Comparison::Members, "the server's table of commands is a hash table"),
    ("COMMAND COUNT", Comparison::Kind, "Larder counts its own commands too"),
    ("CLIENT ID", Comparison::Kind, "each server numbers its own clients"),
    ("CLIENT INFO", Comparison::Kind, "addresses, ids and ages"),
    ("CLIENT LIST", Comparison::Kind, "addresses, ids and ages"),
    ("INFO", Comparison::Kind, "Larder's own sections"),
    ("CONFIG GET maxmemory", Comparison::Kind, "Larder answers of itself"),
    ("CONFIG SET", Comparison::BytesOrRefused, "the origin's configuration is not for every client of a proxy"),
    ("TIME", Comparison::Kind, "the clock"),
    ("LASTSAVE", Comparison::Kind, "the clock"),
    ("OBJECT IDLETIME", Comparison::Kind, "the clock"),
    ("MEMORY USAGE", Comparison::Kind, "depends on how the allocator and the read buffer were used"),
];

/// The way for this command.
pub fn of(args: &[Vec<u8>]) -> Comparison {
    let matching = EXCEPTIONS.iter().find(|(words, _, _)| applies(words, args));
    matching.map_or(Comparison::Bytes, |&(_, comparison, _)| comparison)
}

/// Whether a command starts with these words.
pub fn applies(words: &str, args: &[Vec<u8>]) -> bool {
    let words: Vec<&str> = words.split(' ').collect();
    args.len() >= words.len() && words.iter().zip(args).all(|(word, arg)| word.as_bytes().eq_ignore_ascii_case(arg))
}

/// Whether the second server's reply passes for the first one's, which is Redis's.
pub fn agree(comparison: Comparison, redis: &[u8], other: &[u8]) -> bool {
    if redis == other {
        return true;
    }
    match comparison {
        Comparison::Bytes => false,
        Comparison::Members => redis.first() == other.first() && members(redis) == members(other),
        // A null may have two shapes but is one kind only when it is written the same way.
        Comparison::Kind => redis.first() == other.first() && is_null(redis) == is_null(other) && redis[0] != b'-',
        Comparison::BytesOrRefused => other.starts_with(b"-") && !other.starts_with(b"-ERR unknown"),
    }
}

fn is_null(bytes: &[u8]) -> bool {
    matches!(reply::parse(bytes), Ok(Some((Reply::Null, _))))
}

/// The members sorted by how they are shown; nested arrays (SSCAN) are taken apart.
fn members(bytes: &[u8]) -> Vec<String> {
    fn gather(reply: &Reply, into: &mut Vec<String>) {
        match reply.items() {
            Some(items) => items.iter().for_each(|item| gather(item, into)),
            None => into.push(format!("{reply:?}")),
        }
    }
    let mut all = Vec::new();
    if let Ok(Some((reply, _))) = reply::parse(bytes) {
        gather(&reply, &mut all);
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_lets_pass_what_it_names_and_no_more() {
        assert!(agree(Comparison::Members, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
        assert!(!agree(Comparison::Members, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"~2\r\n$1\r\nb\r\n$1\r\na\r\n"));
        assert!(!agree(Comparison::Members, b"*1\r\n$1\r\na\r\n", b"*1\r\n$1\r\nb\r\n"));
        assert!(agree(Comparison::Kind, b":1\r\n", b":2\r\n") && !agree(Comparison::Kind, b":1\r\n", b"+1\r\n"));
        assert!(!agree(Comparison::Kind, b"-ERR a\r\n", b"-ERR b\r\n"), "errors are equal or wrong");
        assert!(agree(Comparison::BytesOrRefused, b"+OK\r\n", b"-ERR not by me\r\n"));
        assert!(!agree(Comparison::BytesOrRefused, b"+OK\r\n", b"-ERR unknown command\r\n"));
        assert!(!agree(Comparison::Bytes, b":1\r\n", b":2\r\n"));
    }
}
