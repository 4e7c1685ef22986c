//! LCS: the longest common subsequence of two values.

use super::call::Call;
use crate::keyvalue::Refusal;
use crate::resp::encode;

/// Bytes of working memory at most. The table has a cell for each pair of positions, so this bounds the time as well.
const WORKING_MEMORY: usize = 64 * 1024 * 1024;

#[derive(Default)]
struct Options {
    indexes: bool,
    length: bool,
    match_lengths: bool,
    shortest: i64,
}

/// A stretch that both strings have: where it begins in each, and its length.
struct Stretch {
    a: usize,
    b: usize,
    len: usize,
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
pub(super) fn lcs(call: &mut Call<'_>) -> Result<(), Refusal> {
    let mut value = |i: usize| {
        let entry = call.store.read(call.db, call.cmd.arg(i), call.now);
        entry.map(|entry| entry.text.bytes().into_owned()).unwrap_or_default()
    };
    let (a, b) = (value(1), value(2));
    let options = Options::parse(call)?;
    if options.indexes && options.length {
        return Err(Refusal::LCS_OPTIONS);
    }
    let table = Table::new(&a, &b)?;
    let len = table.at(a.len(), b.len()) as usize;
    if options.length {
        return call.reply_len(len);
    }
    let stretches = table.stretches(&a, &b);
    if !options.indexes {
        let common: Vec<u8> = stretches.iter().rev().flat_map(|one| &a[one.a..one.a + one.len]).copied().collect();
        return call.reply_bulk(&common);
    }
    let shown: Vec<&Stretch> =
        stretches.iter().filter(|one| i64::try_from(one.len).unwrap_or(i64::MAX) >= options.shortest).collect();
    let out = &mut *call.out;
    encode::map(out, call.proto, 2);
    encode::bulk(out, b"matches");
    encode::array(out, shown.len());
    for one in shown {
        encode::array(out, if options.match_lengths { 3 } else { 2 });
        for start in [one.a, one.b] {
            encode::array(out, 2);
            encode::integer(out, start as i64);
            encode::integer(out, (start + one.len - 1) as i64);
        }
        if options.match_lengths {
            encode::integer(out, one.len as i64);
        }
    }
    encode::bulk(out, b"len");
    call.reply_len(len)
}

// === impl Options ===

impl Options {
    fn parse(call: &Call<'_>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut i = 3;
        while i < call.cmd.len() {
            if call.cmd.is(i, "idx") {
                options.indexes = true;
            } else if call.cmd.is(i, "len") {
                options.length = true;
            } else if call.cmd.is(i, "withmatchlen") {
                options.match_lengths = true;
            } else if call.cmd.is(i, "minmatchlen") && i + 1 < call.cmd.len() {
                i += 1;
                options.shortest = call.integer(i)?;
            } else {
                return Err(Refusal::SYNTAX);
            }
            i += 1;
        }
        Ok(options)
    }
}

/// For every pair of prefixes the length of what they have in common.
struct Table {
    cells: Vec<u32>,
    columns: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Result<Self, Refusal> {
        let columns = b.len() + 1;
        let cells = (a.len() + 1)
            .checked_mul(columns)
            .filter(|cells| *cells <= WORKING_MEMORY / size_of::<u32>())
            .ok_or(Refusal::LCS_MEMORY)?;
        let mut table = Self { cells: vec![0; cells], columns };
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                table.cells[(i + 1) * columns + j + 1] =
                    if x == y { table.at(i, j) + 1 } else { table.at(i, j + 1).max(table.at(i + 1, j)) };
            }
        }
        Ok(table)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.columns + j]
    }

    /// The stretches of one longest common subsequence, the last one first. Of several Redis's choice is taken.
    fn stretches(&self, a: &[u8], b: &[u8]) -> Vec<Stretch> {
        let (mut i, mut j) = (a.len(), b.len());
        let mut found: Vec<Stretch> = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match found.last_mut().filter(|last| last.a == i && last.b == j) {
                    Some(last) => *last = Stretch { a: i - 1, b: j - 1, len: last.len + 1 },
                    None => found.push(Stretch { a: i - 1, b: j - 1, len: 1 }),
                }
                i -= 1;
                j -= 1;
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::shell::Shell;
    use crate::resp::Proto;

    #[test]
    fn common_parts_are_shown_as_text_length_and_places() {
        let mut shell = Shell::new();
        shell.run("MSET a ohmytext b mynewtext");
        assert_eq!(shell.run("LCS a b"), "$6 mytext");
        assert_eq!(shell.run("LCS a b LEN"), ":6");
        assert_eq!(
            shell.run("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN"),
            "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"
        );
        shell.proto = Proto::Resp3;
        assert_eq!(shell.run("LCS a none IDX"), "%2 $7 matches *0 $3 len :0");
    }

    #[test]
    fn work_is_bounded() {
        let mut shell = Shell::new();
        shell.run("SETRANGE a 99999 x");
        assert!(shell.run("LCS a a").starts_with("-ERR Insufficient memory"));
    }
}
