//! A TCP forwarder that breaks the link on demand: cut, refuse, hold or swallow, for each direction.
//!
//! It stands between Larder and its origin. Faults can be limited to the tracked connection, which it knows by the
//! name that Larder gives it (`CLIENT SETNAME larder-tracked` goes by in clear).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::larder::TRACKED_NAME;
use crate::port;

/// One way through the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToOrigin,
    /// Replies and pushes.
    FromOrigin,
}

/// Which links a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one, and those to come.
    All,
    /// Those on which the tracked connection's name was seen.
    Tracked,
}

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Pass,
    /// Kept back, in order, until it passes again.
    Hold,
    /// Lost for good.
    Swallow,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    scope: Scope,
    direction: Direction,
    flow: Flow,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    links: Vec<Arc<Link>>,
    refuse: bool,
    accepted: usize,
}

#[derive(Debug)]
struct Link {
    client: TcpStream,
    origin: TcpStream,
    tracked: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
}

/// A running forwarder; every link is cut on drop.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Cutter {
    /// Listens on a port of its own and forwards to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = (0..20).find_map(|_| TcpListener::bind(port::free()).ok()).expect("a free port can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every link of that scope; new ones are accepted as before. How many there were.
    pub fn cut(&self, scope: Scope) -> usize {
        let links: Vec<_> = self.shared.lock().links.iter().filter(|link| link.is_in(scope)).cloned().collect();
        for link in &links {
            link.close();
        }
        self.shared.changed.notify_all();
        links.len()
    }

    /// Cuts everything and closes new connections as soon as they are made.
    pub fn refuse(&self) {
        self.shared.lock().refuse = true;
        self.cut(Scope::All);
    }

    /// Ends [`Cutter::refuse`].
    pub fn admit(&self) {
        self.shared.lock().refuse = false;
    }

    /// Keeps bytes of that direction back until [`Cutter::heal`].
    pub fn hold(&self, scope: Scope, direction: Direction) {
        self.rule(Rule { scope, direction, flow: Flow::Hold });
    }

    /// Loses bytes of that direction, without a word to either side, until [`Cutter::heal`].
    pub fn blackhole(&self, scope: Scope, direction: Direction) {
        self.rule(Rule { scope, direction, flow: Flow::Swallow });
    }

    /// Everything passes again; what was held goes first.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
        self.shared.changed.notify_all();
    }

    /// How many connections it has accepted since the start.
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    /// How many links of that scope are open.
    pub fn open(&self, scope: Scope) -> usize {
        self.shared.lock().links.iter().filter(|link| link.is_in(scope)).count()
    }

    fn rule(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
        self.shared.changed.notify_all();
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.cut(Scope::All);
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut(Scope::All);
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while bytes of this link are held; what shall be done with them then.
    fn flow(&self, link: &Link, direction: Direction) -> Flow {
        let mut state = self.lock();
        loop {
            let rule = state.rules.iter().rev().find(|rule| rule.direction == direction && link.is_in(rule.scope));
            let flow = rule.map_or(Flow::Pass, |rule| rule.flow);
            if flow != Flow::Hold || link.closed.load(Ordering::SeqCst) {
                return flow;
            }
            // Bounded: a link can be closed between the look at it and the wait.
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

// === impl Link ===

impl Link {
    fn is_in(&self, scope: Scope) -> bool {
        scope == Scope::All || self.tracked.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.origin.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.lock().refuse {
            continue;
        }
        let Ok(origin) = TcpStream::connect(shared.target) else {
            continue;
        };
        let _ = (client.set_nodelay(true), origin.set_nodelay(true));
        let link = Arc::new(Link { client, origin, tracked: AtomicBool::new(false), closed: AtomicBool::new(false) });
        {
            let mut state = shared.lock();
            state.accepted += 1;
            state.links.push(Arc::clone(&link));
        }
        for direction in [Direction::ToOrigin, Direction::FromOrigin] {
            let (shared, link) = (Arc::clone(shared), Arc::clone(&link));
            thread::spawn(move || pump(&shared, &link, direction));
        }
    }
}

fn pump(shared: &Shared, link: &Arc<Link>, direction: Direction) {
    let (mut from, mut to) = match direction {
        Direction::ToOrigin => (&link.client, &link.origin),
        Direction::FromOrigin => (&link.origin, &link.client),
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
        if shared.flow(link, direction) == Flow::Pass && to.write_all(&buffer[..count]).is_err() {
            if direction == Direction::ToOrigin {
                // The origin has closed; what it said before is still to be delivered by the other pump.
                return;
            }
            break;
        }
    }
    link.close();
    shared.changed.notify_all();
    shared.lock().links.retain(|open| !Arc::ptr_eq(open, link));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::redis::Redis;
    use crate::reply::Reply;
    use crate::wait;

    #[test]
    fn bytes_pass_are_held_are_lost_and_links_are_cut() {
        let redis = Redis::start();
        let cutter = Cutter::start(redis.address());
        let mut plain = Client::connect(cutter.address());
        let mut tracked = Client::connect(cutter.address());
        assert_eq!(tracked.say("CLIENT SETNAME larder-tracked"), Reply::ok());
        assert_eq!(plain.say("SET a 1"), Reply::ok());
        assert_eq!((cutter.open(Scope::All), cutter.open(Scope::Tracked)), (2, 1));

        cutter.hold(Scope::Tracked, Direction::FromOrigin);
        tracked.send(&["GET", "a"]).expect("sent");
        tracked.set_reply_timeout(Duration::from_millis(50));
        assert!(tracked.try_read().is_err(), "held");
        assert_eq!(plain.say("SET a 2"), Reply::ok());
        cutter.heal();
        tracked.set_reply_timeout(Duration::from_secs(5));
        assert_eq!(tracked.read(), Reply::bulk("1"), "read before the change, delivered after it");

        cutter.blackhole(Scope::Tracked, Direction::ToOrigin);
        tracked.send(&["SET", "a", "3"]).expect("sent");
        wait::until("the lost write is not carried out", || plain.say("GET a") == Reply::bulk("2"));
        cutter.heal();

        assert_eq!(cutter.cut(Scope::Tracked), 1);
        assert!(tracked.try_call(&["PING"]).is_err());
        assert_eq!(plain.say("PING"), Reply::Simple("PONG".to_owned()));
        cutter.refuse();
        assert!(Client::try_connect(cutter.address()).and_then(|mut client| client.try_call(&["PING"])).is_err());
        cutter.admit();
        assert_eq!(Client::connect(cutter.address()).say("PING"), Reply::Simple("PONG".to_owned()));
    }
}
