//! A command inside a command: `COMMAND GETKEYS GET k`, `LARDER EXPLAIN GET k`.

use crate::resp::{Command, Span};

/// A command of its own, copied out of the arguments of another one.
#[derive(Clone, Debug)]
pub struct Quoted {
    wire: Vec<u8>,
    args: Vec<Span>,
}

impl Quoted {
    /// A command of these arguments, the first of them its name; `None` when there is no argument, or more bytes than a
    /// span can tell.
    pub fn new<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = format!("*{}\r\n", args.len()).into_bytes();
        let mut spans = Vec::with_capacity(args.len());
        for arg in args {
            wire.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            let start = u32::try_from(wire.len()).ok()?;
            wire.extend_from_slice(arg);
            spans.push(Span { start, end: u32::try_from(wire.len()).ok()? });
            wire.extend_from_slice(b"\r\n");
        }
        (!spans.is_empty()).then_some(Self { wire, args: spans })
    }

    /// The command.
    pub fn command(&self) -> Command<'_> {
        Command::new(&self.wire, &self.args)
    }
}
