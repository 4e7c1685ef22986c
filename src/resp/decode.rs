//! Client bytes to commands: incremental, bounded, and never back to the first byte.
//!
//! The rules are those of Redis 7.0 (`processMultibulkBuffer` and `processInlineBuffer` in `networking.c`) with its
//! error texts. Whatever the bytes are split into, the outcome is the same. Four differences, each towards the safer:
//!
//! - The CR LF behind a bulk and behind a length is verified; Redis skips two bytes unseen. Commands are forwarded
//!   verbatim on connections that many clients share, to servers that may look where Redis does not: bytes that two
//!   parsers could split at different places must not get there. No client library writes anything else.
//! - A zero byte in an inline command is an error. Redis takes it for the end of all input and waits.
//! - A wrong byte in the place of `$` is refused at once; Redis waits for the end of its line.
//! - A whole command has a limit, and it is refused as soon as a length says that it will be passed.

mod inline;

use std::fmt;

use smallvec::SmallVec;

use super::{Command, Span, number};

/// What a client may ask the decoder to hold. Redis's own names are `proto-max-bulk-len` (`max_bulk`) and
/// `client-query-buffer-limit` (`max_request`); it allows 2^31-1 arguments and inline requests of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of one argument.
    pub max_bulk: usize,
    /// Arguments of one command, its name included.
    pub max_args: usize,
    /// Bytes of one line: an inline command, or the line that carries a length.
    pub max_inline: usize,
    /// Bytes of one whole command.
    pub max_request: usize,
}

/// Why a client's bytes are not a command. The text is Redis's, to be sent behind `-ERR ` before the connection is
/// closed; after an error the decoder is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No end of line within `max_inline` bytes.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// A zero byte in an inline command (Larder's own text: Redis says nothing and waits).
    #[error("Protocol error: zero byte in inline request")]
    ZeroByteInline,
    /// A quote that is not closed, or one that is closed inside a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// No end of the line that carries the number of arguments.
    #[error("Protocol error: too big mbulk count string")]
    TooBigCountLine,
    /// Not a number of arguments, or more than `max_args`.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// No end of the line that carries an argument's length.
    #[error("Protocol error: too big bulk count string")]
    TooBigLengthLine,
    /// Not a length, negative, or more than `max_bulk`.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// Something else than a bulk string where an argument should begin.
    #[error("Protocol error: expected '$', got '{}'", Shown(*.0))]
    ExpectedBulk(u8),
    /// An argument is not followed by CR LF (Larder's own text: Redis does not look).
    #[error("Protocol error: expected CRLF after bulk")]
    UnterminatedBulk,
    /// The command is longer than `max_request` (Larder's own text: Redis closes without one).
    #[error("Protocol error: too big request")]
    TooBigRequest,
}

/// A byte in an error text: Redis prints it raw but for line ends; what no text can hold is shown in hexadecimal.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\r' | b'\n' => f.write_str(" "),
            b' '..=b'~' => write!(f, "{}", char::from(self.0)),
            other => write!(f, "\\x{other:02x}"),
        }
    }
}

/// The state of one client's stream between two reads.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Arguments found so far; six of them (`SET key value PX 1000 NX`) need no heap.
    args: SmallVec<[Span; 6]>,
    /// The canonical form of a command that was typed inline, else empty.
    inline: Vec<u8>,
    stage: Stage,
    /// Up to where `buf` is understood.
    pos: usize,
    /// Up to where an unfinished line has been searched for its end.
    searched: usize,
    /// Arguments that are still to come.
    owed: usize,
    /// Where the argument that begins at `pos` ends, once its length is known.
    end: Option<usize>,
}

/// Where in a command the decoder is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// In its first line.
    #[default]
    Start,
    /// Behind `*N`.
    Arguments,
    /// Whole; the next call begins a new one.
    Done,
}

impl Decoder {
    /// Goes on in `buf`, which starts at the first byte of the command that this decoder is at: the caller keeps the
    /// bytes of an unfinished command, and may move them.
    ///
    /// `Some(n)`: `buf[..n]` is one whole request. `None`: more bytes are needed.
    ///
    /// # Errors
    /// The bytes break the protocol or a limit: answer with the error's text and close the connection.
    #[inline]
    pub fn decode(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, ProtocolError> {
        if self.stage == Stage::Done {
            self.restart();
        }
        if self.stage == Stage::Start {
            match buf.first() {
                None => return Ok(None),
                Some(b'*') => {
                    let Some(count) = self.count(buf, limits)? else {
                        return Ok(None);
                    };
                    self.owed = count;
                    self.stage = Stage::Arguments;
                }
                Some(_) => return self.inline(buf, limits),
            }
        }
        self.arguments(buf, limits)
    }

    /// The command of the last `Ok(Some(n))`, over the same `buf`. `None` when that request was empty (a blank line,
    /// `*0`, `*-1`): Redis skips these in silence.
    #[inline]
    pub fn command<'a>(&'a self, buf: &'a [u8]) -> Option<Command<'a>> {
        if self.stage != Stage::Done || self.args.is_empty() {
            return None;
        }
        let wire = if self.inline.is_empty() { buf.get(..self.pos)? } else { &self.inline };
        Some(Command::new(wire, &self.args))
    }

    /// Bytes that the unfinished command needs in all, as far as the lengths read so far tell, so that the caller can
    /// reserve once; 0 if nothing is known. Never more than `max_request`, but still only what a client claims.
    pub fn wanted(&self) -> usize {
        self.end.map_or(0, |end| end + 2)
    }

    /// Gives back the heap memory that a large or an inline command needed. The last command is gone with it.
    pub fn release(&mut self) {
        if self.stage == Stage::Done {
            self.restart();
        }
        if self.stage == Stage::Start {
            self.args = SmallVec::new();
            self.inline = Vec::new();
        }
    }

    #[inline]
    fn restart(&mut self) {
        self.args.clear();
        self.inline.clear();
        self.stage = Stage::Start;
        self.pos = 0;
        self.searched = 0;
    }

    /// The `*N` line; a count below one is an empty request. Nothing is allocated for what a client merely announces.
    #[inline]
    fn count(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, ProtocolError> {
        use ProtocolError::{InvalidCount, TooBigCountLine};
        let (count, behind) = match number::length(buf, 1) {
            Some(found) => found,
            None => match self.line(buf, 0, limits, TooBigCountLine, InvalidCount)? {
                None => return Ok(None),
                Some((count, behind)) => (usize::try_from(count).unwrap_or(0), behind),
            },
        };
        // Redis counts arguments in an `int`, and so do the spans' users.
        if count > limits.max_args.min(i32::MAX as usize) {
            return Err(InvalidCount);
        }
        self.pos = behind;
        Ok(Some(count))
    }

    #[inline]
    fn arguments(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, ProtocolError> {
        while self.owed > 0 {
            let end = match self.end {
                Some(end) => end,
                None => match self.length(buf, limits)? {
                    Some(end) => end,
                    None => return Ok(None),
                },
            };
            let Some(terminator) = buf.get(end..end + 2) else {
                self.end = Some(end);
                return Ok(None);
            };
            if terminator != b"\r\n" {
                return Err(ProtocolError::UnterminatedBulk);
            }
            // `length` keeps every command below 4 GiB.
            self.args.push(Span { start: self.pos as u32, end: end as u32 });
            self.pos = end + 2;
            self.end = None;
            self.owed -= 1;
        }
        self.stage = Stage::Done;
        Ok(Some(self.pos))
    }

    /// The `$len` line at `pos`: moves behind it and says where the argument will end.
    #[inline]
    fn length(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, ProtocolError> {
        use ProtocolError::{ExpectedBulk, InvalidLength, TooBigLengthLine, TooBigRequest};
        match buf.get(self.pos) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(ExpectedBulk(*other)),
        }
        let (length, behind) = match number::length(buf, self.pos + 1) {
            Some(found) => found,
            None => match self.line(buf, self.pos, limits, TooBigLengthLine, InvalidLength)? {
                None => return Ok(None),
                Some((length, behind)) => (usize::try_from(length).map_err(|_| InvalidLength)?, behind),
            },
        };
        if length > limits.max_bulk {
            return Err(InvalidLength);
        }
        // Spans are 32 bits wide, so a command stays below 4 GiB whatever the limits say.
        let room = limits.max_request.min(u32::MAX as usize).saturating_sub(behind);
        if length.saturating_add(2) > room {
            return Err(TooBigRequest);
        }
        self.pos = behind;
        Ok(Some(behind + length))
    }

    /// The line at `at` that the short way could not read: unfinished, negative, too long or wrong. Its number, and
    /// where the next byte lies.
    #[cold]
    fn line(
        &mut self,
        buf: &[u8],
        at: usize,
        limits: &DecodeLimits,
        too_big: ProtocolError,
        invalid: ProtocolError,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        let from = self.searched.max(at);
        // The line's end may lie at `max_inline`, as in Redis, which looks for an end before it counts.
        let until = buf.len().min(at.saturating_add(limits.max_inline).saturating_add(1));
        let unseen = buf.get(from..until).unwrap_or_default();
        let Some(end) = unseen.iter().position(|byte| *byte == b'\r').map(|i| from + i) else {
            self.searched = until.max(from);
            return if buf.len().saturating_sub(at) > limits.max_inline { Err(too_big) } else { Ok(None) };
        };
        self.searched = end;
        match buf.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => match number::integer(&buf[at + 1..end]) {
                Some(number) => Ok(Some((number, end + 2))),
                None => Err(invalid),
            },
            Some(_) => Err(invalid),
        }
    }

    /// A command that was typed: words up to a line feed.
    #[cold]
    fn inline(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<Option<usize>, ProtocolError> {
        let most = limits.max_inline.min(limits.max_request);
        let until = buf.len().min(most.saturating_add(1));
        let unseen = buf.get(self.searched..until).unwrap_or_default();
        let Some(i) = unseen.iter().position(|byte| matches!(byte, b'\n' | 0)) else {
            self.searched = until.max(self.searched);
            return if buf.len() > most { Err(ProtocolError::TooBigInline) } else { Ok(None) };
        };
        let end = self.searched + i;
        if buf[end] == 0 {
            return Err(ProtocolError::ZeroByteInline);
        }
        let line = &buf[..end];
        let words = inline::split(line.strip_suffix(b"\r").unwrap_or(line)).ok_or(ProtocolError::UnbalancedQuotes)?;
        if words.len() > limits.max_args {
            return Err(ProtocolError::InvalidCount);
        }
        words.write(&mut self.inline, &mut self.args);
        self.pos = end + 1;
        self.stage = Stage::Done;
        Ok(Some(self.pos))
    }
}

#[cfg(test)]
mod tests;
