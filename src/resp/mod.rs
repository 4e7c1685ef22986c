//! The Redis serialization protocol, as far as a proxy needs it.
//!
//! Four small parts that share no state: [`decode`] turns client bytes into commands, [`scan`] finds where a reply
//! ends without looking inside it, [`convert`] rewrites a RESP3 reply for a RESP2 client, and [`encode`] is the one
//! place where a reply of Larder's own is written. [`number`] holds the strict decimal integers beneath all four, and
//! [`view`] looks inside a reply where that is needed, as [`gather`] does to join the replies of a split command.
//!
//! Source of the format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

pub mod convert;
pub mod decode;
pub mod encode;
pub mod gather;
pub mod number;
pub mod scan;
#[cfg(test)]
mod values;
pub mod view;

/// The protocol version that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// What every client starts with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Where one argument lies in a command's bytes: `start..end`, without its header and line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One command as it came from a client: its exact bytes and where its arguments lie in them.
///
/// `wire` is always an array of bulk strings (`*N`, then `$len` and bytes); a command that was typed inline has been
/// rewritten to that form by the decoder, so that it can be forwarded verbatim.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    wire: &'a [u8],
    args: &'a [Span],
}

impl<'a> Command<'a> {
    /// A command over `wire`; `args` holds at least the command's name.
    pub fn new(wire: &'a [u8], args: &'a [Span]) -> Self {
        debug_assert!(!args.is_empty());
        Self { wire, args }
    }

    /// The whole command, ready to be forwarded.
    pub fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// How many arguments there are, the name included (what Redis calls `argc`).
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Never true: a command has at least a name.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Argument `i`; 0 is the name.
    ///
    /// # Panics
    /// If there is no such argument; callers have checked the arity.
    pub fn arg(&self, i: usize) -> &'a [u8] {
        let span = self.args[i];
        &self.wire[span.start as usize..span.end as usize]
    }

    /// Argument `i`, if there is one.
    pub fn opt(&self, i: usize) -> Option<&'a [u8]> {
        (i < self.args.len()).then(|| self.arg(i))
    }

    /// The command's name as it was typed.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0)
    }

    /// Arguments from `from` on.
    pub fn args(&self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let wire = self.wire;
        self.args[from.min(self.args.len())..].iter().map(move |span| &wire[span.start as usize..span.end as usize])
    }

    /// The wire bytes of the arguments behind argument `i`: length-delimited and exact, hence a safe cache key.
    pub fn behind(&self, i: usize) -> &'a [u8] {
        &self.wire[self.args[i].end as usize + 2..]
    }

    /// Whether argument `i` exists and equals `word`, whatever its case.
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.opt(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }
}
