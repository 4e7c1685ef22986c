//! A worker: one thread with its own runtime, its sessions, its lanes.
//!
//! Nothing in here is shared with other threads except through [`App`] and the worker's inbox. There is one timer per
//! worker; it looks for commands that have waited too long, for clients that do not read, and publishes what others
//! want to see.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::LocalSet;

use crate::app::App;
use crate::cache::Waiter;
use crate::cache::hotkeys::Sketch;
use crate::clock::Micros;
use crate::coherence::Reader;
use crate::command::{Spec, Table};
use crate::counters::Counters;
use crate::inbox::{Inbox, Leaving, Letter, Payload};
use crate::logs::sample;
use crate::origin::{Map, Node, Origin};
use crate::pubsub;
use crate::resp::decode::DecodeLimits;
use crate::rules::Rules;
use crate::session::lease::Lease;
use crate::session::receiver::Receipt;
use crate::session::{self, Ending, Session};
use crate::traces::Dice;
use crate::upstream::breaker::State;
use crate::upstream::lane::Lane;
use crate::upstream::leases::Ticket;
use crate::upstream::{Identity, tracked};

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// Its number.
    pub number: u16,
    /// What all workers share.
    pub app: Arc<App>,
    /// Its counters; nobody else writes them.
    pub counters: Arc<Counters>,
    /// The command table, as last announced.
    pub table: RefCell<Arc<Table>>,
    rules: RefCell<Arc<Rules>>,
    dice: Dice,
    /// The read buffer of all its connections: only one of them reads at a time.
    pub scratch: Rc<RefCell<Box<[u8]>>>,
    /// Which keys are read most here.
    pub sketch: RefCell<Sketch>,
    /// Who owns what, as last looked up, for each upstream.
    maps: Vec<RefCell<Arc<Map>>>,
    lanes: RefCell<Vec<Link>>,
    /// Every leased lane, in use or not.
    leased: RefCell<Vec<Link>>,
    /// Those that nobody uses.
    vacant: RefCell<Vec<Link>>,
    sessions: RefCell<HashMap<u64, Rc<Session>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// What its sessions are asked to do, since when, and within what time each of them has its turn.
    leaving: Cell<(Leaving, Micros, Duration)>,
    stopping: Cell<bool>,
}

/// A lane and the node that it leads to.
#[derive(Debug)]
struct Link {
    node: Arc<Node>,
    lane: Rc<Lane<Receipt>>,
}

/// How much is read from a socket at once.
const SCRATCH: usize = 64 << 10;
/// The timer's period.
const TICK: Duration = Duration::from_millis(50);
/// Emptied output buffers kept for the next session that writes.
const BUFFERS: usize = 64;
/// Leased connections kept for the next lease.
const VACANT: usize = 64;
/// A lane that nobody has used for this long is closed.
const LANE_IDLE: Duration = Duration::from_secs(60);
/// How often a worker's hottest keys are published, and how often counts are halved, in ticks.
const PUBLISH: u64 = 4;
const FADE: u64 = 200;

/// 2^64 divided by the golden ratio: multiples of it lie evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Runs a worker on the calling thread until it is told to stop.
pub fn run(app: Arc<App>, number: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Rc::new(Worker {
        number,
        counters: Arc::clone(&app.counters[usize::from(number)]),
        table: RefCell::new(app.table.load_full()),
        rules: RefCell::new(app.rules()),
        dice: Dice::new(number),
        scratch: Rc::new(RefCell::new(vec![0; SCRATCH].into_boxed_slice())),
        sketch: RefCell::default(),
        maps: app.upstreams.iter().map(|_| RefCell::default()).collect(),
        lanes: RefCell::default(),
        leased: RefCell::default(),
        vacant: RefCell::default(),
        sessions: RefCell::default(),
        buffers: RefCell::default(),
        leaving: Cell::new((Leaving::Stays, Micros(0), Duration::ZERO)),
        stopping: Cell::new(false),
        app,
    });
    let local = LocalSet::new();
    local.block_on(&runtime, worker.work());
    Ok(())
}

impl Worker {
    async fn work(self: Rc<Self>) {
        tokio::task::spawn_local(Rc::clone(&self).keep_time());
        let inbox = Arc::clone(&self.app.inboxes[usize::from(self.number)]);
        while !self.stopping.get() {
            let letters = next(&inbox).await;
            for letter in letters {
                self.open(letter);
            }
            // There may always be more (a flood of messages): sessions must get their turn to send what they have got.
            tokio::task::yield_now().await;
        }
    }

    fn open(self: &Rc<Self>, letter: Letter) {
        match letter {
            Letter::Reply(waiter, payload) => {
                let session = self.sessions.borrow().get(&waiter.session).cloned();
                if let Some(session) = session {
                    session.receive(waiter.seq, &payload);
                }
            }
            Letter::Client(accepted) => {
                let worker = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let client = Arc::clone(&accepted.client);
                    match accepted.into_stream().await {
                        // Killed while its TLS handshake was under way.
                        Ok(_) if client.killed.load(Ordering::Acquire) => {}
                        Ok(stream) => session::run(Rc::clone(&worker), stream, Arc::clone(&client)).await,
                        Err(error) if sample::NOT_ADMITTED.admits() => {
                            tracing::info!(client = client.id, "client not admitted: {error}");
                        }
                        Err(_) => {}
                    }
                    worker.app.clients.leave(&client);
                    worker.counters.clients_left.add(1);
                });
            }
            Letter::Push(members, push) => {
                for member in members.iter() {
                    if let Some(session) = self.sessions.borrow().get(&member.session) {
                        session.push(member.ticket, &push);
                    }
                }
            }
            Letter::Subscribed { session, request, refusal } => {
                if let Some(session) = self.sessions.borrow().get(&session) {
                    session.subscribed(request, refusal);
                }
            }
            Letter::Links => pubsub::start_links(&self.app),
            Letter::Kill(id) => {
                if let Some(session) = self.sessions.borrow().get(&id) {
                    session.state.borrow_mut().end(Ending::Now);
                }
            }
            Letter::Wake(id) => self.wake(id),
            Letter::Follow(node) => self.follow(node),
            Letter::NewPrimaries => self.app.broadcasts.primaries_changed(&self.app),
            Letter::NewRules => {
                let rules = self.app.rules();
                let number = rules.number;
                *self.rules.borrow_mut() = rules;
                self.app.rules_taken(self.number, number);
            }
            Letter::NewTable => *self.table.borrow_mut() = self.app.table.load_full(),
            Letter::Leave(leaving, within) => {
                self.leaving.set((leaving, Micros::now(), within));
                self.ask_to_leave();
            }
            Letter::Cut => {
                let sessions = self.sessions.borrow();
                sessions.values().for_each(|session| session.state.borrow_mut().end(Ending::Now));
                self.counters.clients_cut.add(sessions.len() as u64);
            }
            Letter::Stop => self.stopping.set(true),
        }
    }

    async fn keep_time(self: Rc<Self>) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut before = Micros::now();
        for tick in 0u64.. {
            timer.tick().await;
            let now = Micros::now();
            let late = now.since(before) > Micros::of(TICK * 3);
            before = now;
            self.counters.ticked_at.set(now.0);
            self.lanes.borrow_mut().retain(|Link { node, lane }| {
                lane.tick(now, late);
                let unused = lane.unused_for(now);
                // Held by this list and by its own task only.
                let alone = Rc::strong_count(lane) <= 2;
                let over = match unused {
                    Some(time) => node.retired() || alone && time > Micros::of(LANE_IDLE),
                    None => false,
                };
                if over {
                    lane.close();
                    node.remove_lane();
                }
                !over
            });
            self.leased.borrow_mut().retain(|Link { node, lane }| {
                lane.tick(now, late);
                if node.retired() || node.breaker.state() == State::Open {
                    lane.cut();
                }
                !lane.closed()
            });
            self.vacant.borrow_mut().retain(|Link { node, lane }| {
                let unused = lane.unused_for(now).is_some_and(|time| time > Micros::of(LANE_IDLE));
                let stays = lane.is_vacant() && !unused && !node.retired();
                if !stays {
                    lane.close();
                }
                stays
            });
            for session in self.sessions.borrow().values() {
                session.tick();
            }
            self.ask_to_leave();
            if self.number == 0 {
                self.app.memories().for_each(|(_, memory)| memory.sweep());
            }
            if tick % PUBLISH == 0 {
                let top = self.sketch.borrow().top().to_vec();
                *self.app.hot[usize::from(self.number)].lock().unwrap_or_else(PoisonError::into_inner) = top;
            }
            if tick % FADE == FADE - 1 {
                self.sketch.borrow_mut().fade();
            }
        }
    }

    /// Tells the sessions whose turn it is that the process wants them to end. Turns lie evenly over the time, by the session's number.
    fn ask_to_leave(&self) {
        let (leaving, since, within) = self.leaving.get();
        if leaving == Leaving::Stays {
            return;
        }
        let past = Micros::now().since(since);
        for session in self.sessions.borrow().values() {
            let share = (session.id.wrapping_mul(GOLDEN) >> 32) as f64 / (1u64 << 32) as f64;
            if past >= Micros::of(within.mul_f64(share)) {
                session.ask_to_leave(leaving);
            }
        }
    }

    /// Keeps a node's tracked connection.
    fn follow(&self, node: Arc<Node>) {
        let mut reader = Reader::new(Arc::clone(&self.app), Arc::clone(&node));
        let (endpoint, connection) = (Arc::clone(&node.endpoint), Arc::clone(&node.tracked));
        let breaker = Arc::clone(&node.breaker);
        let coherence = self.rules().config.upstreams[&endpoint.upstream].coherence;
        tokio::task::spawn_local(async move {
            let how = tracked::How { coherence, prefix: None };
            tracked::run(endpoint, breaker, how, connection, |event| reader.apply(event)).await;
        });
    }

    /// What is asked for now. Replaced between commands only.
    #[inline]
    pub fn rules(&self) -> Ref<'_, Rules> {
        Ref::map(self.rules.borrow(), |rules| &**rules)
    }

    /// Whether the next command is to be traced.
    #[inline]
    pub fn chooses_to_trace(&self) -> bool {
        self.dice.choose(self.rules.borrow().traced)
    }

    /// What clients may send.
    pub fn decode_limits(&self) -> DecodeLimits {
        let limits = &self.rules.borrow().config.limits;
        let bound = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        DecodeLimits {
            max_bulk: bound(limits.max_bulk),
            max_args: limits.max_args,
            max_inline: 64 << 10,
            max_request: bound(limits.max_request),
        }
    }

    /// The present map of an upstream.
    #[inline]
    pub fn map(&self, origin: &Origin) -> Ref<'_, Map> {
        // (One that is being looked at stays for this once.)
        let known = &self.maps[usize::from(origin.number)];
        if known.borrow().version != origin.version()
            && let Ok(mut map) = known.try_borrow_mut()
        {
            *map = origin.map();
        }
        Ref::map(known.borrow(), |map| &**map)
    }

    /// The lane to a node for an identity; made when there is none yet.
    pub fn lane(&self, node: &Arc<Node>, identity: Identity) -> Rc<Lane<Receipt>> {
        let mut lanes = self.lanes.borrow_mut();
        let is_it = |link: &&Link| Arc::ptr_eq(&link.node, node) && link.lane.identity == identity;
        if let Some(link) = lanes.iter().find(is_it) {
            return Rc::clone(&link.lane);
        }
        let (endpoint, breaker) = (Arc::clone(&node.endpoint), Arc::clone(&node.breaker));
        let lane = Lane::start(endpoint, breaker, identity, Rc::clone(&self.scratch), false);
        node.add_lane();
        lanes.push(Link { node: Arc::clone(node), lane: Rc::clone(&lane) });
        lane
    }

    /// A connection to a node for one session alone. It is counted as leased already ([`Leases`]).
    ///
    /// [`Leases`]: crate::upstream::leases::Leases
    pub fn lease(self: &Rc<Self>, node: &Arc<Node>, identity: &Identity) -> Lease {
        let mut vacant = self.vacant.borrow_mut();
        let fits =
            |Link { node: of, lane }: &Link| Arc::ptr_eq(of, node) && lane.identity == *identity && lane.is_vacant();
        let lane = match vacant.iter().rposition(fits) {
            Some(at) => vacant.remove(at).lane,
            None => {
                let (endpoint, breaker) = (Arc::clone(&node.endpoint), Arc::clone(&node.breaker));
                let lane = Lane::start(endpoint, breaker, identity.clone(), Rc::clone(&self.scratch), true);
                self.leased.borrow_mut().push(Link { node: Arc::clone(node), lane: Rc::clone(&lane) });
                lane
            }
        };
        self.counters.leases.add(1);
        Lease::new(self, node, lane)
    }

    /// A lease ends: its connection is kept for the next one if it may be used again.
    pub fn put_by(&self, node: &Arc<Node>, lane: &Rc<Lane<Receipt>>, clean: bool) {
        let mut vacant = self.vacant.borrow_mut();
        if clean && lane.is_vacant() && !node.retired() && vacant.len() < VACANT {
            lane.wait_for(Some(Duration::ZERO));
            vacant.push(Link { node: Arc::clone(node), lane: Rc::clone(lane) });
        } else {
            lane.close();
        }
    }

    /// There is one fewer out: whoever waits for one has his turn.
    pub fn give_back_lease(&self, upstream: u16) {
        if let Some(origin) = self.app.origin(upstream) {
            self.tell(origin.leases.give_back());
        }
    }

    /// The place of a session in the queue for a lease.
    pub fn ticket(&self, session: u64) -> Ticket {
        Ticket { worker: self.number, session }
    }

    /// A session waits for a lease no more.
    pub fn want_no_lease(&self, upstream: u16, session: u64) {
        if let Some(origin) = self.app.origin(upstream) {
            self.tell(origin.leases.leave(self.ticket(session)));
        }
    }

    /// Tells a session, of whatever worker, that its turn has come.
    fn tell(&self, next: Option<Ticket>) {
        match next {
            Some(Ticket { worker, session }) if worker == self.number => self.wake(session),
            Some(Ticket { worker, session }) => {
                if let Some(inbox) = self.app.inboxes.get(usize::from(worker)) {
                    inbox.post([Letter::Wake(session)]);
                }
            }
            None => {}
        }
    }

    fn wake(&self, session: u64) {
        if let Some(session) = self.sessions.borrow().get(&session) {
            session.wake_soon();
        }
    }

    /// The row of GET, whose entries MGET shares.
    pub fn get_row(&self) -> Option<Arc<Spec>> {
        self.table.borrow().find(b"get").cloned()
    }

    /// Has waiting sessions, of whatever worker, send a read on their own lanes.
    pub fn retry(&self, waiters: impl IntoIterator<Item = Waiter>, request: &Bytes) {
        for waiter in waiters {
            if let Some(inbox) = self.app.inboxes.get(usize::from(waiter.worker)) {
                inbox.post([Letter::Reply(waiter, Payload::Retry(request.clone()))]);
            }
        }
    }

    /// A session begins.
    pub fn enter(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().insert(session.id, Rc::clone(session));
    }

    /// A session ends.
    pub fn leave(&self, session: &Session) {
        self.sessions.borrow_mut().remove(&session.id);
    }

    /// An empty output buffer.
    pub fn lend_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an emptied output buffer back.
    pub fn return_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS && buffer.capacity() <= SCRATCH {
            buffers.push(buffer);
        }
    }
}

async fn next(inbox: &Inbox) -> Vec<Letter> {
    poll_fn(|cx| {
        let letters = inbox.collect(cx);
        if letters.is_empty() { Poll::Pending } else { Poll::Ready(letters) }
    })
    .await
}
