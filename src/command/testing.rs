//! What the tests of this module share.

use super::{Quoted, Table};

/// A command of the words of `line`; `""` stands for an empty one.
pub fn command(line: &str) -> Quoted {
    let args: Vec<&[u8]> =
        line.split(' ').map(|word| if word == "\"\"" { &b""[..] } else { word.as_bytes() }).collect();
    Quoted::new(args.into_iter()).expect("a line has a word")
}

/// The table of the committed data.
pub fn table() -> Table {
    Table::builtin()
}
