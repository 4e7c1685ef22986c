//! A command of which a trace is made: served like any other, with somebody beside it who looks at the clock.

use std::rc::Rc;

use super::state::NO_SLOT;
use super::{Session, State};
use crate::clock::Micros;
use crate::command::for_each_key;
use crate::counters::Counters;
use crate::resp::{Command, Proto};
use crate::serve::{self, Flow, serve};
use crate::traces::trace::Trace;

/// Reads a counter.
type Count = fn(&Counters) -> u64;

/// What a command may have done to the counters, and what that means; the first that has moved says it.
const OUTCOMES: [(&str, Count); 8] = [
    ("refused", |c| c.errors.value()),
    ("degraded", |c| c.degraded.iter().flatten().map(|cell| cell.value()).sum()),
    ("hit", |c| c.hits.value()),
    ("stale-while-revalidate", |c| c.revalidations.value()),
    ("joined", |c| c.joined.value()),
    ("miss", |c| c.misses.value()),
    ("bypass", |c| c.bypassed.value()),
    ("local", |c| c.local.value()),
];

impl Session {
    /// Serves a command, and has a trace made of it when its reply is there.
    #[cold]
    pub(super) fn serve_traced(self: &Rc<Self>, state: &mut State, command: &Command<'_>) -> Flow {
        let counters = &self.worker.counters;
        let before = OUTCOMES.map(|(_, count)| count(counters));
        let owed = state.replies.owed();
        // Its reply shares its place with no other.
        state.lane_seq = NO_SLOT;
        let (client, database, read_at) = (self.id, state.database, state.now);
        let trace = Trace { client, database, read_at, begun_at: Micros::now(), ..Trace::default() };
        state.trace = Some(Box::new(trace));
        let flow = serve(self, state, command);
        state.lane_seq = NO_SLOT;
        let Some(mut trace) = state.trace.take() else { return flow };
        if flow == Flow::Stall {
            // It is served again from the beginning, and not by the same dice.
            return flow;
        }
        trace.served_at = Micros::now();
        let moved = OUTCOMES.iter().zip(before).find(|((_, count), before)| count(counters) != *before);
        trace.outcome = moved.map_or("pass", |((name, _), _)| name);
        trace.failed = trace.outcome == "refused";
        self.describe(&mut trace, command);
        if state.replies.owed() > owed {
            trace.waits_for = Some(state.replies.newest());
            state.trace = Some(trace);
        } else {
            trace.replied_at = trace.served_at;
            trace.server = None;
            self.finish_trace(*trace);
        }
        flow
    }

    /// The reply that a trace waits for is written by `write`.
    #[cold]
    pub(super) fn arrive_traced(
        &self,
        state: &mut State,
        (seq, count, proto): (u64, u32, Proto),
        write: impl FnOnce(&mut Vec<u8>, Proto),
    ) {
        let mut failed = false;
        state.replies.arrive(seq, count, |out| {
            let start = out.len();
            write(out, proto);
            failed = out.get(start) == Some(&b'-');
        });
        if let Some(mut trace) = state.trace.take_if(|trace| trace.waits_for == Some(seq)) {
            trace.replied_at = Micros::now();
            trace.failed |= failed;
            self.finish_trace(*trace);
        }
    }

    fn finish_trace(&self, trace: Trace) {
        if let Some(tracer) = &self.worker.app.tracer {
            tracer.emit(trace);
        }
    }

    /// Notes what the command is and where it belongs.
    fn describe(&self, trace: &mut Trace, command: &Command<'_>) {
        let (worker, app) = (&self.worker, &self.worker.app);
        let table = worker.table.borrow();
        // (What the table does not have may be anything: its name is not repeated.)
        trace.command = match table.lookup(command) {
            Ok(spec) => spec.name.replace('|', " ").to_ascii_uppercase(),
            Err(_) => "unknown".to_owned(),
        };
        // Of one with too few or too many arguments nothing more is known.
        let Ok(spec) = table.resolve(command) else { return };
        let mut first = None;
        for_each_key(spec, command, |at, _| first = first.or(Some(at)));
        let rules = worker.rules();
        let mut upstream = app.home;
        if let Some(key) = first.map(|at| command.arg(at)) {
            upstream = rules.routes.upstream_of(key);
            let pattern = &rules.routes.find(key).pattern;
            trace.route = if pattern.is_empty() { "default".to_owned() } else { pattern.clone() };
        }
        app.upstream_name(upstream).clone_into(&mut trace.upstream);
        if let Some(origin) = app.origin(upstream) {
            let map = worker.map(origin);
            let node = serve::addressee(&map, spec, command);
            trace.server = node.map(|node| node.endpoint.address.to_string());
        }
    }
}
