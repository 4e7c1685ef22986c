//! The judgement: one unit's writes and one read in, a broken promise out.

use std::time::Duration;

use super::history::{Cell, EXPIRY_SLACK, FOREIGN_BOUND, MEMBERS, Promise, Read, Seen, Via, Violation, Write};

/// The writes of one unit in their order. The first is the state at the start.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    name: &'a str,
    writes: &'a [Write],
}

/// The first write that a read may show, by each reason.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    same_connection: usize,
    same_proxy: usize,
    foreign: usize,
    /// The last write that was sent before the read ended.
    newest: usize,
}

impl<'a> Timeline<'a> {
    /// `writes` in the order in which they were sent; the first one is the state before the run.
    pub fn new(name: &'a str, writes: &'a [Write]) -> Self {
        assert!(!writes.is_empty(), "{name} has no first state");
        assert!(writes.is_sorted_by_key(|write| write.start), "the writes of {name} have one order");
        Self { name, writes }
    }

    /// Whether the read keeps every promise.
    ///
    /// # Errors
    /// The promise that it breaks.
    pub fn judge(&self, read: &Read) -> Result<(), Violation> {
        let bounds = self.bounds(read);
        let oldest = bounds.same_connection.max(bounds.same_proxy).max(bounds.foreign);
        let allowed = oldest..=bounds.newest;
        if self.writes[allowed].iter().any(|write| (0..MEMBERS).all(|member| shows(read, member, &write.cells[member])))
        {
            return Ok(());
        }
        let promise = self.broken_promise(read, bounds, oldest);
        let detail = format!(
            "{} of {} via {:?} from {} to {} showed {:?}; allowed were writes {oldest}..={} of {}: {}",
            read.form,
            self.name,
            read.via,
            millis(read.start),
            millis(read.end),
            read.seen,
            bounds.newest,
            self.writes.len(),
            self.shown(oldest.saturating_sub(3), bounds.newest),
        );
        Err(Violation { promise, detail })
    }

    fn bounds(&self, read: &Read) -> Bounds {
        let newest = self.writes.partition_point(|write| write.start < read.end).saturating_sub(1);
        let acked_before = |moment: u64| self.writes.partition_point(|write| write.ack < moment).saturating_sub(1);
        let acked = acked_before(read.start);
        let same_proxy = match read.via {
            Via::Origin => acked,
            Via::Beside => 0,
            // From the newest acknowledged one back to one that this proxy acknowledged, of a key that is read: what others
            // did to a key is not known to a proxy because it has written another.
            via => {
                let wrote = |member: usize| {
                    let by_it = |write: &Write| write.via == via && write.keys[member];
                    self.writes[..=acked].iter().rposition(by_it)
                };
                let asked = (0..MEMBERS).filter(|member| read.seen[*member] != Seen::NotAsked);
                asked.filter_map(wrote).max().unwrap_or(0)
            }
        };
        let foreign = acked_before(read.start.saturating_sub(nanos(FOREIGN_BOUND)));
        let same_connection = match read.after {
            0 => 0,
            after => self.writes.partition_point(|write| write.start < after),
        };
        Bounds { same_connection, same_proxy, foreign, newest }
    }

    /// Which promise a read breaks that matches no allowed state.
    fn broken_promise(&self, read: &Read, bounds: Bounds, oldest: usize) -> Promise {
        let holds = |write: &Write, member: usize| match read.seen[member] {
            Seen::NotAsked => true,
            Seen::Missing => write.cells[member].version == 0 || write.cells[member].expires(),
            Seen::Present => write.cells[member].version != 0,
            Seen::Version(version) => write.cells[member].version == version,
        };
        let whole = |write: &Write| (0..MEMBERS).all(|member| holds(write, member));
        let before = &self.writes[..=bounds.newest];
        let Some(shown) = before.iter().rposition(whole) else {
            // No state had all of it. Did some state have each part?
            let each = (0..MEMBERS).all(|member| before.iter().any(|write| holds(write, member)));
            return if each { Promise::C7 } else { Promise::C8 };
        };
        if shown >= oldest {
            return if read.seen.contains(&Seen::Missing) { Promise::C8 } else { Promise::C4 };
        }
        let deleted_since = |member: usize| {
            let asked = !matches!(read.seen[member], Seen::NotAsked | Seen::Missing);
            asked && self.writes[shown + 1..=oldest].iter().any(|write| write.cells[member].version == 0)
        };
        if shown < bounds.same_connection {
            Promise::C1
        } else if (0..MEMBERS).any(deleted_since) {
            Promise::C5
        } else if shown < bounds.same_proxy {
            Promise::C2
        } else {
            Promise::C3
        }
    }

    /// States as `[written, =untouched, ...]`.
    fn shown(&self, from: usize, to: usize) -> String {
        // The ends of the range say what happened; a long middle does not.
        let chosen = (from..=to).filter(|number| number - from < 8 || to - number < 4);
        let write = |number: usize| {
            let Write { start, ack, via, keys, cells } = &self.writes[number];
            let versions: Vec<String> = std::iter::zip(cells, keys)
                .map(|(cell, written)| {
                    let mark = if *written { "" } else { "=" };
                    match cell.expires() {
                        true => format!("{mark}{} until {}", cell.version, millis(cell.latest_expiry)),
                        false => format!("{mark}{}", cell.version),
                    }
                })
                .collect();
            format!("#{number} {via:?} {}-{} [{}]", millis(*start), millis(*ack), versions.join(", "))
        };
        chosen.map(write).collect::<Vec<_>>().join("; ")
    }
}

/// Whether the state of one key is one that the read may have shown so.
fn shows(read: &Read, member: usize, cell: &Cell) -> bool {
    let slack = nanos(EXPIRY_SLACK);
    let may_be_there = cell.version != 0 && read.start <= cell.latest_expiry.saturating_add(slack);
    match read.seen[member] {
        Seen::NotAsked => true,
        Seen::Missing => cell.version == 0 || read.end.saturating_add(slack) >= cell.earliest_expiry,
        Seen::Present => may_be_there,
        Seen::Version(version) => may_be_there && cell.version == version,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("the durations here are seconds")
}

fn millis(nanos: u64) -> String {
    format!("{:.3}ms", nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests;
