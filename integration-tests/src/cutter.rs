//! A TCP forwarder that breaks the link on demand: every way in which a network or a server fails, for each direction.
//!
//! It stands between Larder and its origin. Most faults can be limited to the tracked connection, which it knows by the
//! name that Larder gives it (`CLIENT SETNAME larder-tracked` goes by in clear). Faults are switched on and off while it runs:
//!
//! | fault | by | what the other side sees |
//! |---|---|---|
//! | cut | [`Cutter::cut`] | an orderly end; connecting works |
//! | refuse | [`Cutter::refuse`] | an end, and then nobody listens |
//! | reset | [`Cutter::reset`], [`Cutter::reset_new`] | RST, on what there is, on what is new |
//! | hold | [`Cutter::hold`] | silence; later everything, in order |
//! | blackhole | [`Cutter::blackhole`], [`Cutter::blackhole_all`] | silence; what was said is lost, connecting works |
//! | half-open | [`Cutter::deaden`] | silence for ever on what there is; what is new works |
//! | delay | [`Cutter::delay`] | the same, later |
//! | slow drip | [`Cutter::drip`] | the same, in small pieces |

mod link;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::port;
use crate::wait;
use link::{Door, Flow, Link, Rule, Shared};

/// One way through the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToOrigin,
    /// Replies and pushes.
    FromOrigin,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToOrigin, Self::FromOrigin];
}

/// Which links a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one, and those to come.
    All,
    /// Those on which the tracked connection's name was seen.
    Tracked,
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
        shared.lock().listening = true;
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(listener, address, &shared))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    // --- what happens to connections

    /// Closes every link of that scope; new ones are accepted as before. How many there were.
    pub fn cut(&self, scope: Scope) -> usize {
        self.each(scope, Link::close)
    }

    /// Resets every link of that scope; new ones are accepted as before. How many there were.
    pub fn reset(&self, scope: Scope) -> usize {
        self.each(scope, Link::reset)
    }

    /// Resets everything and, until [`Cutter::admit`], whoever connects, after he has been accepted.
    pub fn reset_new(&self) {
        self.shared.lock().door = Door::Reset;
        self.reset(Scope::All);
    }

    /// Cuts everything; until [`Cutter::admit`] nobody listens.
    pub fn refuse(&self) {
        self.shared.lock().door = Door::Shut;
        // Wakes the acceptor, which then lets go of the listening socket.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        wait::until("nobody listens", || !self.shared.lock().listening);
        self.cut(Scope::All);
    }

    /// Ends [`Cutter::refuse`] and [`Cutter::reset_new`].
    pub fn admit(&self) {
        self.shared.lock().door = Door::Open;
        self.shared.changed.notify_all();
        wait::until("somebody listens again", || self.shared.lock().listening);
    }

    /// Every link that there is falls silent for good, both ways: nobody is told, and [`Cutter::heal`] does not help. New ones
    /// are fine. How many there were.
    pub fn deaden(&self) -> usize {
        self.each(Scope::All, Link::deaden)
    }

    // --- what happens to bytes

    /// Keeps bytes of that direction back until [`Cutter::heal`].
    pub fn hold(&self, scope: Scope, direction: Direction) {
        self.rule(Rule { scope, direction, flow: Flow::Hold });
    }

    /// Loses bytes of that direction, without a word to either side, until [`Cutter::heal`].
    pub fn blackhole(&self, scope: Scope, direction: Direction) {
        self.rule(Rule { scope, direction, flow: Flow::Swallow });
    }

    /// The same of every link in both directions: it accepts and swallows.
    pub fn blackhole_all(&self) {
        Direction::BOTH.into_iter().for_each(|direction| self.blackhole(Scope::All, direction));
    }

    /// Passes bytes of that direction on later by at least that, and less than twice that, until [`Cutter::heal`].
    pub fn delay(&self, scope: Scope, direction: Direction, time: Duration) {
        self.rule(Rule { scope, direction, flow: Flow::Delay(time) });
    }

    /// Passes bytes of that direction on in pieces of at most `count`, and waits for `every` before each, until
    /// [`Cutter::heal`].
    pub fn drip(&self, scope: Scope, direction: Direction, count: usize, every: Duration) {
        assert!(count > 0, "a drip of nothing is a hold");
        self.rule(Rule { scope, direction, flow: Flow::Drip(count, every) });
    }

    /// Everything passes again; what was held goes first.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
        self.shared.changed.notify_all();
    }

    // --- what there is

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

    fn each(&self, scope: Scope, change: fn(&Link)) -> usize {
        let links: Vec<_> = self.shared.lock().links.iter().filter(|link| link.is_in(scope)).cloned().collect();
        for link in &links {
            change(link);
        }
        self.shared.changed.notify_all();
        links.len()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        self.cut(Scope::All);
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut(Scope::All);
    }
}

/// Accepts while the door is not shut; while it is, the port is kept without listening there.
fn accept(mut listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept() else { continue };
        let door = shared.lock().door;
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match door {
            Door::Open => admit(client, shared),
            Door::Reset => drop(link::linger_zero(&client)),
            Door::Shut => {
                drop((client, listener));
                match keep_shut(address, shared) {
                    Some(again) => listener = again,
                    None => return,
                }
            }
        }
    }
}

fn admit(client: TcpStream, shared: &Arc<Shared>) {
    let Ok(origin) = TcpStream::connect(shared.target) else { return };
    let link = Arc::new(Link::new(client, origin));
    {
        let mut state = shared.lock();
        state.accepted += 1;
        state.links.push(Arc::clone(&link));
    }
    link::start(shared, &link);
}

/// Holds the port until the door is not shut any more; `None` when the cutter ends meanwhile.
fn keep_shut(address: SocketAddr, shared: &Shared) -> Option<TcpListener> {
    // A bound socket that does not listen: connecting is refused, and nobody else takes the port.
    let placeholder = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    placeholder.set_reuse_address(true).expect("a fresh socket takes options");
    // A process that another test starts at this moment has a copy of the listening socket between its fork and its exec.
    wait::until("the port is let go", || placeholder.bind(&address.into()).is_ok());
    let mut state = shared.lock();
    state.listening = false;
    while state.door == Door::Shut {
        if shared.stopping.load(Ordering::SeqCst) {
            return None;
        }
        state = shared.wait(state, Duration::MAX);
    }
    placeholder.listen(128).expect("a bound socket can listen");
    state.listening = true;
    Some(placeholder.into())
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
