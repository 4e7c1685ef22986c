//! For tests: types commands into a store, with clocks that stand still until told otherwise.

use super::Memory;
use crate::keyvalue::Now;
use crate::resp::{Command, Proto, Span};

pub(super) struct Shell {
    pub memory: Memory,
    pub now: Now,
    pub db: u32,
    pub proto: Proto,
}

impl Shell {
    pub(super) fn new() -> Self {
        Self::with_budget(1 << 30)
    }

    pub(super) fn with_budget(max_memory: u64) -> Self {
        Self {
            memory: Memory::new(max_memory),
            now: Now { tick: 5_000, unix_us: 1_700_000_000_000_000 },
            db: 0,
            proto: Proto::Resp2,
        }
    }

    /// Lets time pass on both clocks.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now.tick += ms;
        self.now.unix_us += i64::try_from(ms).expect("a test's time") * 1000;
    }

    /// Runs a line split at each space; the reply has its line ends shown as spaces.
    pub(super) fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = self.run_args(&args);
        String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end_matches(' ').to_owned()
    }

    pub(super) fn run_args(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut wire = format!("*{}\r\n", args.len()).into_bytes();
        let mut spans = Vec::new();
        for arg in args {
            wire.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            let start = u32::try_from(wire.len()).expect("a test's command");
            wire.extend_from_slice(arg);
            spans.push(Span { start, end: start + u32::try_from(arg.len()).expect("a test's argument") });
            wire.extend_from_slice(b"\r\n");
        }
        let mut name = String::from_utf8_lossy(args[0]).to_lowercase();
        if name == "object" {
            name = format!("object|{}", String::from_utf8_lossy(args[1]).to_lowercase());
        }
        let mut out = Vec::new();
        let cmd = Command::new(&wire, &spans);
        self.memory.execute_at(self.now, &name, &cmd, self.db, self.proto, &mut out);
        out
    }
}
