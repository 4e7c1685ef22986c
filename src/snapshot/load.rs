//! From the file to the near-cache.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Terms;
use super::format::{Reader, Record, Refused};
use crate::app::App;
use crate::cache::Stamp;
use crate::cache::entry::Parts;
use crate::clock::Micros;
use crate::command::Spec;
use crate::resp::scan::Scanner;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Replies taken in.
    pub kept: u64,
    /// Replies of no use: too old, or not cached any more as the routes are now.
    pub left_out: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_at: u64,
    /// How many milliseconds ago that was.
    pub passed: u64,
}

/// Connections of the process before that are told apart; of more than can have been in one cache nothing is known.
const MOST_CONNECTIONS: usize = 65_536;

/// Reads the file into the near-cache; `None` if there is none. After an error the near-cache holds replies that must go.
pub(super) fn load(
    path: &Path,
    app: &App,
    terms: &Terms,
    owner: &str,
    now: Micros,
    unix_ms: u64,
) -> Result<Option<Loaded>, Refused> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refused::Io(error)),
    };
    if !metadata.is_file() {
        return Err(Refused::Foreign);
    }
    let file = File::open(path).map_err(Refused::Io)?;
    // Of the file that was opened, whatever has its name by now.
    let metadata = file.metadata().map_err(Refused::Io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Refused::Exposed(mode));
    }
    read(BufReader::with_capacity(256 << 10, file), metadata.len(), app, terms, owner, now, unix_ms).map(Some)
}

/// The same from any reader of `length` bytes.
pub(super) fn read(
    input: impl Read,
    length: u64,
    app: &App,
    terms: &Terms,
    owner: &str,
    now: Micros,
    unix_ms: u64,
) -> Result<Loaded, Refused> {
    let (mut reader, header) = Reader::begin(input, length, terms.rules.config.near_cache.max_memory)?;
    if header.owner != owner {
        return Err(Refused::Owner(header.owner));
    }
    let written_at = header.written_at;
    let passed = unix_ms.checked_sub(written_at).ok_or_else(|| Refused::Future(written_at.saturating_sub(unix_ms)))?;
    let table = app.table.load();
    let mut stamps = Stamps::default();
    let mut loaded = Loaded { kept: 0, left_out: 0, written_at, passed };
    while let Some(record) = reader.next_record()? {
        let spec = table.find_full(record.command.as_bytes()).filter(|spec| terms.admit(record.key, spec));
        let parts = spec.and_then(|spec| parts(&record, spec, app, terms, now, passed));
        let kept = parts.is_some_and(|parts| {
            let stamp = stamps.of(record.connection);
            app.near.restore(&Parts { stamp, ..parts })
        });
        *if kept { &mut loaded.kept } else { &mut loaded.left_out } += 1;
    }
    Ok(loaded)
}

/// What a record is now, if it is still of use.
fn parts<'a>(
    record: &Record<'a>,
    spec: &Spec,
    app: &App,
    terms: &Terms,
    now: Micros,
    passed: u64,
) -> Option<Parts<'a>> {
    // The clock of the file has whole milliseconds.
    let passed = passed.saturating_add(1);
    // An age that cannot be told would be told too short.
    let read_at = Micros(now.0.checked_sub(micros(record.age.saturating_add(passed)))?);
    let expires_at = at(now, i128::from(record.life) - i128::from(passed))?;
    let ends_at = match record.left {
        None => Micros::NEVER,
        Some(left) => at(now, i128::from(left) - i128::from(passed))?,
    };
    if now.since(expires_at) > terms.max_stale || !is_whole(record.reply) {
        return None;
    }
    let upstream = terms.rules.routes.upstream_of(record.key);
    Some(Parts {
        hash: app.near.hash(upstream, record.key),
        upstream,
        database: record.database,
        command: spec.number,
        key: record.key,
        args: record.args,
        reply: record.reply,
        shape: record.shape,
        same_in_both: record.same_in_both,
        negative: record.negative,
        stamp: Stamp::NONE,
        read_at,
        expires_at,
        ends_at,
    })
}

/// So many milliseconds after `now`; `None` if that lies before all that the clock can tell.
fn at(now: Micros, ms: i128) -> Option<Micros> {
    let micros = (i128::from(now.0) + ms * 1000).min(i128::from(u64::MAX - 1));
    u64::try_from(micros).ok().map(Micros)
}

fn micros(ms: u64) -> u64 {
    ms.saturating_mul(1000)
}

/// Whether it is one reply, and one that is ever kept.
fn is_whole(reply: &[u8]) -> bool {
    !reply.starts_with(b"-")
        && !reply.starts_with(b"!")
        && Scanner::default().scan(reply).is_ok_and(|end| end == Some(reply.len()))
}

/// What the connections of the process before are called here.
#[derive(Debug, Default)]
struct Stamps {
    known: HashMap<u32, Stamp>,
}

impl Stamps {
    fn of(&mut self, connection: u32) -> Stamp {
        match self.known.get(&connection) {
            Some(stamp) => *stamp,
            None if connection == 0 || self.known.len() >= MOST_CONNECTIONS => Stamp::of_the_past(),
            None => *self.known.entry(connection).or_insert_with(Stamp::of_a_past_connection),
        }
    }
}
