//! How the process ends: it stops accepting, lets its clients finish, closes those that stay, and cuts off what is left.
//!
//! ```text
//!   drain_delay     not ready any more, but accepting: load balancers hear of it
//!   drain_timeout   no longer accepting; who is connected is served on. Ends with the last client
//!                   (after a handover: idle clients are closed in turn in the first half, the others in the second)
//!   2 s             clients are closed between two commands, subscribers last
//!   1 s             what was closed is given time to see it; whatever is left is cut off
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{App, Stage};
use crate::events::Kind;
use crate::inbox::{Leaving, Letter};
use crate::listener::{self, Door, Listener};

/// The signals that end the process. They are caught from the start on, waited for or not.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// The listeners at work.
#[derive(Debug)]
pub struct Doors {
    door: watch::Sender<Door>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why the process drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was told to end.
    Ordered,
    /// Another process serves in its place.
    HandedOver,
}

/// How long clients have to come to the end of a command, and as long again for subscribers.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long those that were closed have to see it. A little longer than sessions wait for that.
const FAREWELL: Duration = Duration::from_millis(1200);
/// How often somebody looks whether clients are left.
const GLANCE: Duration = Duration::from_millis(5);

// === impl Signals ===

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The system does not let signals be caught.
    pub fn catch() -> Result<Self, String> {
        let hook = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        Ok(Self { terminate: hook(SignalKind::terminate())?, interrupt: hook(SignalKind::interrupt())? })
    }

    /// The next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

// === impl Doors ===

impl Doors {
    /// Accepts clients at all of them.
    pub fn open(listeners: Vec<Listener>, app: &Arc<App>) -> Self {
        let (door, _) = watch::channel(Door::Open);
        let accept = |listener| tokio::spawn(listener::accept(listener, Arc::clone(app), door.subscribe()));
        let tasks = listeners.into_iter().map(accept).collect();
        Self { door, tasks }
    }

    /// Accepts no more; returns when nobody who has connected waits to be let in.
    pub async fn close(&mut self, how: Door) {
        self.door.send_replace(how);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

/// Drains. Returns early when a signal comes once more. `closed` is told as soon as nobody is accepted any more.
pub async fn drain(app: &App, doors: &mut Doors, signals: &mut Signals, by: &str, cause: Cause, closed: impl FnOnce()) {
    // First of all, so that nobody is sent here any more who asks whether he may be.
    app.enter(Stage::Draining);
    let before = Tally::of(app);
    app.events.info(Kind::Process, None, format!("{by}: draining, {} clients are connected", before.clients));
    let again = tokio::select! {
        () = course(app, doors, cause, closed) => None,
        signal = signals.next() => Some(signal),
    };
    let (after, left) = (Tally::of(app), app.clients.len() as u64);
    let closed = after.closed - before.closed;
    let cut = (after.cut - before.cut).max(left);
    let came = before.clients + after.accepted - before.accepted;
    let gone = came.saturating_sub(closed + cut);
    let how = again.map_or_else(|| "drained".to_owned(), |signal| format!("{signal} once more, ending at once"));
    let text = format!(
        "{how}: of {came} clients {gone} left by themselves, {closed} were closed between commands, {cut} were cut off"
    );
    if cut > 0 { app.events.warn(Kind::Process, None, text) } else { app.events.info(Kind::Process, None, text) }
}

async fn course(app: &App, doors: &mut Doors, cause: Cause, closed: impl FnOnce()) {
    let (delay, time) = {
        let config = &app.rules().config;
        (config.drain_delay, config.drain_timeout)
    };
    match cause {
        Cause::Ordered => {
            tokio::time::sleep(delay).await;
            doors.close(Door::Closed).await;
            closed();
            until(time, || app.clients.is_empty()).await;
        }
        Cause::HandedOver => {
            doors.close(Door::HandedOver).await;
            closed();
            for leaving in [Leaving::WhenIdle, Leaving::Last] {
                tell(app, || Letter::Leave(leaving, time / 2));
                until(time / 2, || app.clients.is_empty()).await;
            }
        }
    }
    tell(app, || Letter::Leave(Leaving::Soon, Duration::ZERO));
    until(LAST_CALL, || app.clients.list().iter().all(|client| client.is_subscriber())).await;
    tell(app, || Letter::Leave(Leaving::Last, Duration::ZERO));
    until(LAST_CALL, || app.clients.list().is_empty()).await;
    tell(app, || Letter::Cut);
    until(FAREWELL, || app.clients.is_empty()).await;
}

/// Figures of which a drain tells the difference.
struct Tally {
    clients: u64,
    accepted: u64,
    closed: u64,
    cut: u64,
}

impl Tally {
    fn of(app: &App) -> Self {
        Self {
            clients: app.clients.len() as u64,
            accepted: app.total(|counters| counters.clients_accepted.value()),
            closed: app.total(|counters| counters.clients_drained.value()),
            cut: app.total(|counters| counters.clients_cut.value()),
        }
    }
}

fn tell(app: &App, letter: impl Fn() -> Letter) {
    for inbox in &app.inboxes {
        inbox.post([letter()]);
    }
}

async fn until(limit: Duration, holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let _ = tokio::time::timeout(limit, look).await;
}
