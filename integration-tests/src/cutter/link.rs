//! One connection through the cutter: two threads that pass bytes on, and what the rules make of them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{Direction, Scope};
use crate::larder::TRACKED_NAME;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Pass,
    /// Kept back, in order, until it passes again.
    Hold,
    /// Lost for good.
    Swallow,
    /// Passed on by so much later.
    Delay(Duration),
    /// Passed on in pieces of so many bytes, with so much time before each.
    Drip(usize, Duration),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub scope: Scope,
    pub direction: Direction,
    pub flow: Flow,
}

/// What happens to those who connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Door {
    #[default]
    Open,
    /// Nobody listens.
    Shut,
    /// Accepted, and then reset.
    Reset,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub rules: Vec<Rule>,
    pub links: Vec<Arc<Link>>,
    pub door: Door,
    /// Whether somebody listens now: follows the door a little later.
    pub listening: bool,
    pub accepted: usize,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub target: SocketAddr,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub stopping: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    origin: TcpStream,
    tracked: AtomicBool,
    closed: AtomicBool,
    /// Silent for good, whatever the rules say.
    dead: AtomicBool,
}

// === impl Shared ===

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or that long. Bounded in any case: a link can be closed between the look at it and the wait.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, most.min(Duration::from_millis(100)));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the rules say of this link now.
    fn rule(state: &State, link: &Link, direction: Direction) -> Flow {
        if link.dead.load(Ordering::SeqCst) {
            return Flow::Swallow;
        }
        let rule = state.rules.iter().rev().find(|rule| rule.direction == direction && link.is_in(rule.scope));
        rule.map_or(Flow::Pass, |rule| rule.flow)
    }

    /// Waits while bytes of this link are held; what shall be done with them then.
    fn flow(&self, link: &Link, direction: Direction) -> Flow {
        let mut state = self.lock();
        loop {
            let flow = Self::rule(&state, link, direction);
            if flow != Flow::Hold || link.is_closed() {
                return flow;
            }
            state = self.wait(state, Duration::MAX);
        }
    }

    /// Waits that long, or until the rule is another one. Whether the time is over.
    fn pause(&self, link: &Link, direction: Direction, flow: Flow, time: Duration) -> bool {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return true };
            if link.is_closed() || Self::rule(&state, link, direction) != flow {
                return false;
            }
            state = self.wait(state, left);
        }
    }

    /// Waits while a close of this side is as lost as its bytes are.
    fn wait_while_silent(&self, link: &Link, direction: Direction) {
        let mut state = self.lock();
        while !link.is_closed() && matches!(Self::rule(&state, link, direction), Flow::Hold | Flow::Swallow) {
            state = self.wait(state, Duration::MAX);
        }
    }

    /// Passes bytes on as the rules want it.
    fn pass(&self, link: &Link, direction: Direction, bytes: &[u8]) -> std::io::Result<()> {
        let mut to = match direction {
            Direction::ToOrigin => &link.origin,
            Direction::FromOrigin => &link.client,
        };
        let mut left: VecDeque<&[u8]> = VecDeque::from([bytes]);
        while let Some(next) = left.pop_front() {
            let flow = self.flow(link, direction);
            // What was held when the link was closed is lost with it; its sockets may be open for a moment yet.
            if link.is_closed() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match flow {
                Flow::Pass | Flow::Hold => to.write_all(next)?,
                Flow::Swallow => {}
                flow @ Flow::Delay(time) => {
                    self.pause(link, direction, flow, time);
                    // The rule may have become another one meanwhile: then it is not this one's to decide.
                    match self.flow(link, direction) {
                        Flow::Swallow => {}
                        _ if link.is_closed() => {}
                        _ => to.write_all(next)?,
                    }
                }
                flow @ Flow::Drip(count, every) => {
                    let (piece, rest) = next.split_at(count.min(next.len()));
                    if self.pause(link, direction, flow, every) {
                        to.write_all(piece)?;
                        left.extend((!rest.is_empty()).then_some(rest));
                    } else {
                        left.push_back(next);
                    }
                }
            }
            if link.is_closed() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }
}

// === impl Link ===

impl Link {
    pub fn new(client: TcpStream, origin: TcpStream) -> Self {
        let _ = (client.set_nodelay(true), origin.set_nodelay(true));
        let [tracked, closed, dead] = [(); 3].map(|()| AtomicBool::new(false));
        Self { client, origin, tracked, closed, dead }
    }

    pub fn is_in(&self, scope: Scope) -> bool {
        scope == Scope::All || self.tracked.load(Ordering::SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Both sides see an orderly end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.origin.shutdown(Shutdown::Both);
    }

    /// The client sees a reset. It is sent when the last thread lets go of the sockets, which wakes here.
    pub fn reset(&self) {
        let _ = (linger_zero(&self.client), linger_zero(&self.origin));
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.client.shutdown(Shutdown::Read);
        let _ = self.origin.shutdown(Shutdown::Read);
    }

    /// Nothing passes any more and nobody is told.
    pub fn deaden(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

/// Closing then resets.
pub(super) fn linger_zero(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Starts the two threads of a link.
pub(super) fn start(shared: &Arc<Shared>, link: &Arc<Link>) {
    for direction in [Direction::ToOrigin, Direction::FromOrigin] {
        let (shared, link) = (Arc::clone(shared), Arc::clone(link));
        thread::spawn(move || pump(&shared, &link, direction));
    }
}

fn pump(shared: &Shared, link: &Arc<Link>, direction: Direction) {
    let mut from = match direction {
        Direction::ToOrigin => &link.client,
        Direction::FromOrigin => &link.origin,
    };
    let mut buffer = vec![0; 64 * 1024];
    // A name that two reads share is still found: the end of the last one is kept.
    let mut seen: Vec<u8> = Vec::new();
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if direction == Direction::ToOrigin && !link.tracked.load(Ordering::SeqCst) {
            seen.extend_from_slice(&buffer[..count]);
            if seen.windows(TRACKED_NAME.len()).any(|window| window == TRACKED_NAME.as_bytes()) {
                link.tracked.store(true, Ordering::SeqCst);
            }
            seen.drain(..seen.len().saturating_sub(TRACKED_NAME.len()));
        }
        if shared.pass(link, direction, &buffer[..count]).is_err() {
            if direction == Direction::ToOrigin && !link.is_closed() {
                // The origin has closed; what it said before is still to be delivered by the other pump.
                return;
            }
            break;
        }
    }
    if direction == Direction::FromOrigin {
        shared.wait_while_silent(link, direction);
    }
    if !link.is_closed() {
        link.close();
    }
    shared.changed.notify_all();
    shared.lock().links.retain(|open| !Arc::ptr_eq(open, link));
}
