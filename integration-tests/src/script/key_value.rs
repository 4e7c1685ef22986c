//! The script for every backend of keys and values (`script/key_value.txt`), and what may differ between them.

use super::play::Command;
use super::{Kind, Step, lines};
use crate::reply::{self, Reply};

/// What stands behind Larder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A redis-server.
    Redis,
    /// The store in the process.
    Memory,
    /// Memcached, one node or several on a ring.
    Memcached,
}

/// Every exception, and nowhere else: whose it is, the whole command as the script has it, and why its reply is another.
pub const EXCEPTIONS: &[(Backend, &str, &str)] = &[
    (Backend::Memcached, "EXPIRETIME far", "memcached counts seconds in 32 bits: its dates end on 2038-01-19"),
    (Backend::Memcached, "PEXPIRETIME far", "as EXPIRETIME"),
];

/// Replies that count seconds, or the milliseconds of which a backend may count only whole seconds: they may differ by what passes
/// while the script runs, and by one second more. -1 and -2 are no times.
const TIMES: [&str; 4] = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"];

/// Seconds that a slow machine may need.
const SLACK_SECONDS: i64 = 10;

/// The lines of the script.
pub fn steps() -> Vec<Step> {
    lines(include_str!("../../script/key_value.txt")).collect()
}

/// The commands in the order in which they are sent: reads that may be cached twice.
pub fn commands() -> Vec<Command> {
    let twice = |step: Step| {
        let times = if step.kind == Kind::CacheableRead { 2 } else { 1 };
        std::iter::repeat_n(step.args, times)
    };
    steps().into_iter().flat_map(twice).collect()
}

/// Whether a backend's reply passes for Redis's.
pub fn agree(backend: Backend, command: &Command, redis: &[u8], other: &[u8]) -> bool {
    redis == other || is_near(command, redis, other) || excepted(backend, command).is_some()
}

/// The exception that a command is, with its reason.
pub fn excepted(backend: Backend, command: &Command) -> Option<&'static str> {
    let exception = EXCEPTIONS.iter().find(|(of, words, _)| *of == backend && is(words, command));
    exception.map(|(_, _, reason)| *reason)
}

/// Whether a command is this line of the script.
pub fn is(words: &str, command: &Command) -> bool {
    super::step(words).args == *command
}

/// Whether both are the same time, as far as clocks go.
pub fn is_near(command: &Command, redis: &[u8], other: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    let (Some(one), Some(two)) = (integer(redis), integer(other)) else { return false };
    let unit = if name.starts_with('P') { 1000 } else { 1 };
    TIMES.contains(&name.as_str()) && one > 0 && two > 0 && one.abs_diff(two) <= (SLACK_SECONDS * unit) as u64
}

fn integer(bytes: &[u8]) -> Option<i64> {
    match reply::parse(bytes) {
        Ok(Some((Reply::Integer(number), _))) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_differ_a_little_and_what_is_no_time_may_not() {
        let (ttl, pttl, get) = (vec![b"TTL".to_vec()], vec![b"pttl".to_vec()], vec![b"GET".to_vec()]);
        assert!(is_near(&ttl, b":100\r\n", b":99\r\n") && is_near(&pttl, b":100000\r\n", b":99000\r\n"));
        assert!(!is_near(&ttl, b":100\r\n", b":50\r\n") && !is_near(&pttl, b":100000\r\n", b":80000\r\n"));
        assert!(!is_near(&ttl, b":1\r\n", b":-1\r\n") && !is_near(&ttl, b":-1\r\n", b":-2\r\n"));
        assert!(!is_near(&get, b":100\r\n", b":99\r\n"));
    }

    #[test]
    fn the_script_is_long() {
        assert!(steps().len() > 400, "{} lines", steps().len());
    }
}
