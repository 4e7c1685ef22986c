//! A worker: one thread with its own runtime, its sessions, its lanes.
//!
//! Nothing in here is shared with other threads except through [`App`] and the worker's inbox. There is one timer per
//! worker; it looks for commands that have waited too long, for clients that do not read, and publishes what others
//! want to see.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::LocalSet;

use crate::app::{App, Backend, Origin};
use crate::cache::Waiter;
use crate::cache::hotkeys::Sketch;
use crate::clock::Micros;
use crate::coherence::Reader;
use crate::command::{Spec, Table};
use crate::counters::Counters;
use crate::inbox::{Inbox, Letter, Payload};
use crate::resp::decode::DecodeLimits;
use crate::session::receiver::Receipt;
use crate::session::{self, Ending, Session};
use crate::upstream::lane::Lane;
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
    /// What clients may send.
    pub decode_limits: DecodeLimits,
    /// The read buffer of all its connections: only one of them reads at a time.
    pub scratch: Rc<RefCell<Box<[u8]>>>,
    /// Which keys are read most here.
    pub sketch: RefCell<Sketch>,
    lanes: RefCell<Vec<Rc<Lane<Receipt>>>>,
    sessions: RefCell<HashMap<u64, Rc<Session>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    stopping: Cell<bool>,
}

/// How much is read from a socket at once.
const SCRATCH: usize = 64 << 10;
/// The timer's period.
const TICK: Duration = Duration::from_millis(50);
/// Emptied output buffers kept for the next session that writes.
const BUFFERS: usize = 64;
/// A lane that nobody has used for this long is closed.
const LANE_IDLE: Duration = Duration::from_secs(60);
/// How often a worker's hottest keys are published, and how often counts are halved, in ticks.
const PUBLISH: u64 = 4;
const FADE: u64 = 200;

/// Runs a worker on the calling thread until it is told to stop.
pub fn run(app: Arc<App>, number: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = &app.config.limits;
    let bound = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let worker = Rc::new(Worker {
        number,
        counters: Arc::clone(&app.counters[usize::from(number)]),
        table: RefCell::new(app.table.load_full()),
        decode_limits: DecodeLimits {
            max_bulk: bound(limits.max_bulk),
            max_args: limits.max_args,
            max_inline: 64 << 10,
            max_request: bound(limits.max_request),
        },
        scratch: Rc::new(RefCell::new(vec![0; SCRATCH].into_boxed_slice())),
        sketch: RefCell::default(),
        lanes: RefCell::default(),
        sessions: RefCell::default(),
        buffers: RefCell::default(),
        stopping: Cell::new(false),
        app,
    });
    let local = LocalSet::new();
    local.block_on(&runtime, worker.work());
    Ok(())
}

impl Worker {
    async fn work(self: Rc<Self>) {
        // The first worker also keeps the tracked connection.
        if let (0, Backend::Redis(origin)) = (self.number, &self.app.backend) {
            let mut reader = Reader::new(Arc::clone(&self.app));
            let (endpoint, connection) = (Arc::clone(&origin.endpoint), Arc::clone(&origin.tracked));
            let coherence = self.app.config.upstreams[&origin.name].coherence;
            tokio::task::spawn_local(async move {
                tracked::run(endpoint, coherence, connection, |event| reader.apply(event)).await;
            });
        }
        tokio::task::spawn_local(Rc::clone(&self).keep_time());
        let inbox = Arc::clone(&self.app.inboxes[usize::from(self.number)]);
        while !self.stopping.get() {
            let letters = next(&inbox).await;
            for letter in letters {
                self.open(letter);
            }
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
                        Err(error) => tracing::info!(client = client.id, "client not admitted: {error}"),
                    }
                    worker.app.clients.leave(&client);
                    worker.counters.clients_left.add(1);
                });
            }
            Letter::Kill(id) => {
                if let Some(session) = self.sessions.borrow().get(&id) {
                    session.state.borrow_mut().end(Ending::Now);
                }
            }
            Letter::NewTable => *self.table.borrow_mut() = self.app.table.load_full(),
            Letter::Stop => self.stopping.set(true),
        }
    }

    async fn keep_time(self: Rc<Self>) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        for tick in 0u64.. {
            timer.tick().await;
            let now = Micros::now();
            self.lanes.borrow_mut().retain(|lane| {
                lane.tick(now);
                let unused = lane.unused_for(now).is_some_and(|time| time > Micros::of(LANE_IDLE));
                // Held by this list and by its own task only.
                let alone = Rc::strong_count(lane) <= 2;
                if unused && alone {
                    lane.close();
                }
                !(unused && alone)
            });
            for session in self.sessions.borrow().values() {
                session.tick();
            }
            if let (0, Backend::Memory(memory)) = (self.number, &self.app.backend) {
                memory.sweep();
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

    /// The lane for an identity; made when there is none yet.
    pub fn lane(&self, origin: &Origin, identity: Identity) -> Rc<Lane<Receipt>> {
        let mut lanes = self.lanes.borrow_mut();
        if let Some(lane) = lanes.iter().find(|lane| lane.identity == identity) {
            return Rc::clone(lane);
        }
        let lane = Lane::start(Arc::clone(&origin.endpoint), identity, Rc::clone(&self.scratch));
        lanes.push(Rc::clone(&lane));
        lane
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
