//! What an operator may do to the running process, whichever way it is asked for: LARDER FLUSH, INVALIDATE and LADDER, or HTTP.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use crate::app::App;
use crate::cache::near::Cause;
use crate::clock::Micros;
use crate::config;
use crate::events::Kind;
use crate::ladder::{Forced, RUNGS, Rung};
use crate::logs::sample;
use crate::origin::Origin;

/// Puts all servers of an upstream onto a rung: for a time such as `30s`, or until [`auto`].
///
/// # Errors
/// There is no such upstream with servers, no such rung, or the time cannot be read; in words for the one who asked.
pub fn force(app: &App, upstream: &str, rung: &str, lasts: Option<&str>) -> Result<(), String> {
    let Some(known) = Rung::of_name(rung.as_bytes()) else {
        return Err(format!("'{rung}' is no rung; rungs are {}", RUNGS.map(Rung::name).join(", ")));
    };
    let since = Micros::now();
    let lasts = lasts.map(config::duration).transpose().map_err(|why| format!("<for>: {why}"))?;
    let until = lasts.map(|lasts| since.plus(Micros::of(lasts)));
    for origin in named(app, Some(upstream))? {
        let span = lasts.map_or("until it is lifted".to_owned(), |lasts| format!("for {lasts:?}"));
        let text = format!("upstream '{}': rung {} forced {span}", origin.name, known.name());
        if sample::FORCED.admits() {
            app.events.warn(Kind::Rung, Some(&origin.name), text);
        }
        origin.force(Some(Forced { rung: known, since, until }));
    }
    Ok(())
}

/// Leaves the rung of an upstream, or of all of them, to the servers' health again.
///
/// # Errors
/// There is no such upstream with servers.
pub fn auto(app: &App, upstream: Option<&str>) -> Result<(), String> {
    for origin in named(app, upstream)? {
        let text = format!("upstream '{}': no rung is forced any more", origin.name);
        if sample::FORCED.admits() {
            app.events.info(Kind::Rung, Some(&origin.name), text);
        }
        origin.force(None);
    }
    Ok(())
}

/// The upstream of a name, or all of them that have servers.
fn named<'a>(app: &'a App, name: Option<&str>) -> Result<Vec<&'a Origin>, String> {
    let all: Vec<&Origin> = app.origins().collect();
    if all.is_empty() {
        return Err("the memory upstream has no server that could be down".to_owned());
    }
    let named = |origin: &&Origin| name.is_none_or(|name| origin.name == name);
    let found: Vec<&Origin> = all.iter().copied().filter(named).collect();
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|origin| &*origin.name).collect();
        let name = name.unwrap_or_default();
        return Err(format!("there is no upstream '{name}' with servers, but {}", names.join(", ")));
    }
    Ok(found)
}

/// Drops a key from the near-cache: of this upstream, or of the one that its route names. Whether it was there. What is being read of it
/// now is not stored.
///
/// # Errors
/// There is no such upstream with servers.
pub fn invalidate(app: &App, upstream: Option<&str>, key: &[u8]) -> Result<bool, String> {
    let number = match upstream {
        None => app.rules().routes.upstream_of(key),
        Some(_) => named(app, upstream)?.first().map_or(0, |origin| origin.number),
    };
    Ok(app.near.invalidate(number, key, Cause::Operator))
}

/// Drops all keys that begin so from the near-cache, of this upstream or of all; how many there were. What is being read now, of whatever
/// key, is not stored. Walks the whole cache.
///
/// # Errors
/// There is no such upstream with servers.
pub fn invalidate_prefix(app: &App, upstream: Option<&str>, prefix: &[u8]) -> Result<u64, String> {
    let gone = Cell::new(0u64);
    for origin in named(app, upstream)? {
        app.near.invalidate_where(origin.number, |key| {
            let goes = key.starts_with(prefix);
            gone.set(gone.get() + u64::from(goes));
            goes
        });
    }
    app.near.tallies.invalidated_by_operator.fetch_add(gone.get(), Ordering::Relaxed);
    Ok(gone.get())
}

/// Voids the whole near-cache; how many keys were in it.
pub fn flush(app: &App) -> u64 {
    let gone = app.near.len() as u64;
    for origin in app.origins() {
        for node in origin.keepers(&origin.map()) {
            // Void at once by the stamp; the walk only gives the memory back.
            let coverage = &node.coverage;
            app.near.flush(coverage);
            app.near.sweep(origin.number, coverage.stamp());
        }
    }
    gone
}
