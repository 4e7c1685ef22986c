//! Why a command cannot be served: in the exact words of Redis 7.0, byte for byte.
//!
//! Source of the texts: replies of redis-server 7.0.15. Names and arguments are cut at a zero byte and line ends become
//! spaces, as in C strings of a reply that must stay one line.

use std::fmt;

use super::spec::Spec;
use crate::resp::Command;

/// How many bytes of a name, and of all arguments together, Redis repeats.
const SHOWN: usize = 128;

/// A command that Redis would refuse before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    text: Box<[u8]>,
}

impl CommandError {
    /// There is no such command.
    #[cold]
    pub fn unknown(cmd: &Command<'_>) -> Self {
        let mut shown = Vec::new();
        for arg in cmd.args(1) {
            if shown.len() >= SHOWN {
                break;
            }
            let room = SHOWN - shown.len();
            shown.push(b'\'');
            shown.extend_from_slice(cut(arg, room));
            shown.extend_from_slice(b"' ");
        }
        let name = cut(cmd.name(), SHOWN);
        Self::one_line(&[b"ERR unknown command '", name, b"', with args beginning with: ", &shown])
    }

    /// There is no such subcommand of `container`.
    #[cold]
    pub fn unknown_subcommand(container: &Spec, name: &[u8]) -> Self {
        let container = container.name.to_ascii_uppercase();
        Self::one_line(&[b"ERR unknown subcommand '", cut(name, SHOWN), b"'. Try ", container.as_bytes(), b" HELP."])
    }

    /// Too many arguments, or too few.
    #[cold]
    pub fn arity(spec: &Spec) -> Self {
        Self::one_line(&[b"ERR wrong number of arguments for '", spec.name.as_bytes(), b"' command"])
    }

    /// The error as Redis sends it, without the `-` before and the line end behind it. Not always UTF-8: it repeats
    /// what the client sent.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Appends it as a reply. Not by `encode`, whose errors are text: these bytes are the client's own.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'-');
        out.extend_from_slice(&self.text);
        out.extend_from_slice(b"\r\n");
    }

    fn one_line(parts: &[&[u8]]) -> Self {
        let mut text = parts.concat();
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Self { text: text.into() }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for CommandError {}

/// At most `room` bytes, up to the first zero byte.
fn cut(arg: &[u8], room: usize) -> &[u8] {
    let end = arg.iter().take(room).position(|byte| *byte == 0);
    &arg[..end.unwrap_or(arg.len().min(room))]
}
