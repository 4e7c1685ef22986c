//! From the near-cache to the file: written beside it, brought to the disk, then put in its place.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::format::{Header, MAGIC, Record, Writer};
use super::{Terms, beside};
use crate::app::App;
use crate::cache::{Coverage, Entry};
use crate::clock::Micros;
use crate::command::{Spec, Table};

/// Large enough that the system is rarely called.
const BUFFER: usize = 256 << 10;

/// Writes the file: how many replies there are in it. Whoever reads it meets the one before or this one, whole.
pub(super) fn save(path: &Path, app: &App, terms: &Terms, header: &Header, now: Micros) -> io::Result<u64> {
    may_replace(path)?;
    let new = beside(path, ".new");
    let saved = save_to(&new, app, terms, header, now).and_then(|count| {
        fs::rename(&new, path)?;
        // The new name is on the disk when the directory is.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(count)
    });
    if saved.is_err() {
        // A disk that is full is not to be kept so by half a file.
        let _ = fs::remove_file(&new);
    }
    saved
}

/// A path that was mistyped must not cost anybody a file: only what is a snapshot, or the beginning of one, makes room for the next.
fn may_replace(path: &Path) -> io::Result<()> {
    let file = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if found.is_file() => File::open(path)?,
        Ok(_) => return Err(io::Error::other("it is not a regular file")),
    };
    let mut begin = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    match MAGIC.starts_with(&begin) {
        true => Ok(()),
        false => Err(io::Error::other("there is a file that is no snapshot of Larder, which is left alone")),
    }
}

fn save_to(new: &Path, app: &App, terms: &Terms, header: &Header, now: Micros) -> io::Result<u64> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Nothing there, or left behind by a process that was killed.
        _ => {}
    }
    // A file of our own making, for our eyes only: the values are the users'.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let (out, count) = write(BufWriter::with_capacity(BUFFER, file), app, terms, header, now)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(count)
}

/// Writes what is worth keeping, as of `now`, which is when the walk begins.
pub(super) fn write<W: Write>(out: W, app: &App, terms: &Terms, header: &Header, now: Micros) -> io::Result<(W, u64)> {
    let mut writer = Writer::begin(out, header, terms.rules.config.near_cache.max_memory)?;
    let table = app.table.load();
    let specs = cacheable(&table);
    let maps: Vec<_> =
        app.upstreams.iter().map(|backend| backend.origin().map(|origin| (origin, origin.map()))).collect();
    let mut forms: Vec<Entry> = Vec::new();
    'walk: for entry in app.near.entries() {
        let upstream = terms.rules.routes.upstream_of(entry.key());
        if entry.facts().upstream != upstream {
            // A reload gives its key to another upstream at this moment, which never said this.
            continue;
        }
        let upstream = usize::from(upstream);
        let Some((origin, map)) = maps.get(upstream).and_then(Option::as_ref) else { continue };
        if map.owner(entry.key()).is_none() && !map.primaries().is_empty() {
            // Whose flushes would have voided it is not known. (Before there is a map, what came from a snapshot goes into the next.)
            continue;
        }
        let coverage = &origin.answering(map, entry.key()).coverage;
        // Oldest first, so that the chain is the same when it has been put together again.
        forms.clear();
        forms.extend(entry.forms().cloned());
        for form in forms.iter().rev() {
            let spec = specs.get(&form.facts().command).filter(|spec| terms.admit(form.key(), spec));
            if let Some(record) = spec.and_then(|spec| record(form, spec, coverage, terms, now))
                && !writer.put(&record)?
            {
                break 'walk;
            }
        }
    }
    writer.finish()
}

fn record<'a>(form: &'a Entry, spec: &'a Spec, coverage: &Coverage, terms: &Terms, now: Micros) -> Option<Record<'a>> {
    let facts = form.facts();
    if !facts.stamp.survives(coverage.stamp()) || now.since(facts.expires_at) > terms.max_stale {
        return None;
    }
    // What was read before the walk began and is still there was true at that moment, as was all else of its connection. In TTL mode
    // nobody would have told.
    let together = facts.read_at <= now && coverage.until() != Micros::NEVER;
    Some(Record {
        database: facts.database,
        command: &spec.name,
        key: form.key(),
        args: form.args(),
        reply: form.reply(),
        shape: facts.shape(),
        same_in_both: facts.same_in_both(),
        negative: facts.negative(),
        connection: if together { facts.stamp.connection() } else { 0 },
        age: now.since(coverage.proven(facts.stamp, facts.read_at)).0.div_ceil(1000),
        life: ms_until(facts.expires_at, now),
        left: match facts.ends_at() {
            Micros::NEVER => None,
            end => Some(end.since(now).0 / 1000),
        },
    })
}

/// Whole milliseconds from `now` to `then`, rounded to the shorter life.
fn ms_until(then: Micros, now: Micros) -> i64 {
    let micros = i128::from(then.0) - i128::from(now.0);
    i64::try_from(micros.div_euclid(1000)).unwrap_or(i64::MAX)
}

/// The rows whose replies may be in the near-cache, by number.
fn cacheable(table: &Table) -> HashMap<u16, &Spec> {
    let rows = table.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands.iter()));
    rows.filter(|spec| spec.cacheable.is_some()).map(|spec| (spec.number, &**spec)).collect()
}
