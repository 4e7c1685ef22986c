//! A client that asks at a steady pace, whatever happens, and remembers every answer.
//!
//! Four things are done side by side, each on a connection of its own, so that none waits for another: reads of keys that are
//! cached, reads that are never cached, writes of a counter with a read of it behind each, and LARDER LADDER. The first three say
//! LARDER STALENESS ON, so an answer that is not fresh says so and tells its age. What each answer is worth is judged when it comes:
//!
//! - A value is *wrong* when nobody ever wrote it, when it is older than a write that this proxy has acknowledged, when it is
//!   shown as fresh although it was changed at the origin longer ago than the lease of the tracked connection, when it is older
//!   than the age that it tells, or when it comes from the cache after a write of its key that failed.
//! - Everything that is not right and not wrong is an error, with its text.
//!
//! [`report`] makes a line of it: how long until the fault was noticed, errors before and after that, the rungs, the return.

pub mod report;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Protocol};
use crate::reply::Reply;
use crate::standing::{self, Standing};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// GET of a key that was cached before the fault.
    Cached,
    /// A read that never is.
    Uncached,
    /// SET of the counter.
    Write,
    /// GET of the counter, after each write.
    Own,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cached, Self::Uncached, Self::Write, Self::Own];
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Right, and by what is said as of now.
    Right,
    /// Right, and so old.
    Stale(Duration),
    /// An error, or no connection.
    Error(String),
    /// What may never come.
    Wrong(String),
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What was asked.
    pub kind: Kind,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer had come.
    pub answered: Instant,
    /// What it was.
    pub outcome: Outcome,
}

/// A look at the ladder that showed something else than the one before.
#[derive(Clone, Debug)]
pub struct Turn {
    /// When.
    pub at: Instant,
    /// All that LARDER LADDER said.
    pub standings: Vec<Standing>,
}

/// The keys to ask for. On a cluster they may be those of one shard.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Hold a version each, which only [`Steady::changed`] may raise.
    pub cached: Vec<String>,
    /// Is never asked for in a form that is cached.
    pub uncached: String,
    /// Is written here and nowhere else.
    pub counter: String,
}

/// A running steady client.
#[derive(Debug)]
pub struct Steady {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Sample>>>,
    watcher: JoinHandle<Vec<Turn>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    keys: Keys,
    /// How long a change may go unseen.
    lease: Duration,
    /// Which versions the cached keys had at the origin, from when on.
    versions: Mutex<Vec<(Instant, u64)>>,
    /// The newest acknowledged and the newest sent value of the counter.
    acknowledged: AtomicU64,
    sent: AtomicU64,
    /// Whether the origin may have lost what it had.
    lost: AtomicBool,
    stop: AtomicBool,
}

/// Between two requests of a kind.
const PACE: Duration = Duration::from_millis(5);
/// Between two looks at the ladder.
const LOOK: Duration = Duration::from_millis(20);
/// Ages are told in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// The value of a version.
fn value(version: u64) -> String {
    format!("v{version}")
}

impl Keys {
    /// Names of a standalone server.
    pub fn plain(prefix: &str) -> Self {
        Self {
            cached: (0..20).map(|number| format!("{prefix}:cached:{number}")).collect(),
            uncached: format!("{prefix}:uncached"),
            counter: format!("{prefix}:counter"),
        }
    }

    /// Gives the cached keys a version, through whichever server or proxy that is.
    pub fn write(&self, client: &mut Client, version: u64) {
        for key in &self.cached {
            assert_eq!(client.call(&["SET", key, &value(version)]), Reply::ok(), "{key}");
        }
    }
}

impl Steady {
    /// Begins to ask. The cached keys have version 1, and a change made elsewhere is seen after `lease` at the latest.
    pub fn start(address: SocketAddr, keys: Keys, lease: Duration) -> Self {
        let shared = Arc::new(Shared {
            address,
            keys,
            lease,
            versions: Mutex::new(vec![(Instant::now(), 1)]),
            acknowledged: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let threads = [Kind::Cached, Kind::Uncached, Kind::Write].map(|kind| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                Asker { link: Link { shared: &shared, client: None }, kind, samples: Vec::new() }.work()
            })
        });
        let watcher = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || watch(&shared))
        };
        Self { shared, threads: threads.into(), watcher }
    }

    /// The cached keys have had that version at the origin for a moment.
    pub fn changed(&self, version: u64) {
        self.shared.versions().push((Instant::now(), version));
    }

    /// The origin may have lost any write until now.
    pub fn lose(&self) {
        self.shared.lost.store(true, Ordering::SeqCst);
        self.shared.acknowledged.store(0, Ordering::SeqCst);
    }

    /// Ends; everything that was asked and seen.
    pub fn finish(self) -> (Vec<Sample>, Vec<Turn>) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let samples = self.threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect();
        (samples, self.watcher.join().expect("it ends"))
    }
}

// === impl Shared ===

impl Shared {
    fn versions(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// What a reply to a read of a cached key is worth.
    fn judge_cached(&self, sent: Instant, reply: &Reply) -> Outcome {
        let (stale, shown) = match taken_apart(reply) {
            Ok(parts) => parts,
            Err(outcome) => return outcome,
        };
        let versions = self.versions();
        let Some(version) = shown else {
            let lost = self.lost.load(Ordering::SeqCst);
            return if lost { right(stale) } else { Outcome::Wrong("missing".to_owned()) };
        };
        // What had been changed so long before it was asked for is seen.
        let unseen = stale.map_or(self.lease, |age| age + ROUNDING);
        let long_ago = |at: Instant| at + unseen < sent;
        let floor = versions.iter().filter(|(at, _)| long_ago(*at)).map(|(_, version)| *version).max();
        let newest = versions.iter().map(|(_, version)| *version).max().unwrap_or(0);
        if version < floor.unwrap_or(1) && !self.lost.load(Ordering::SeqCst) {
            return Outcome::Wrong(format!("version {version}, age {stale:?}, where {floor:?} had been written"));
        }
        // One more may be on its way to its mark.
        if version > newest + 1 { Outcome::Wrong(format!("version {version} of {newest}")) } else { right(stale) }
    }

    /// What a reply to a read of the counter is worth, after a write that was acknowledged, refused or of unknown fate.
    fn judge_own(&self, floor: u64, failed: bool, reply: &Reply) -> Outcome {
        let (stale, shown) = match taken_apart(reply) {
            Ok(parts) => parts,
            Err(outcome) => return outcome,
        };
        // An acknowledged write may have been lost meanwhile.
        let floor = floor.min(self.acknowledged.load(Ordering::SeqCst));
        match shown {
            _ if failed && stale.is_some() => {
                Outcome::Wrong(format!("{reply:?} from the cache after a write that failed"))
            }
            None if floor == 0 => right(stale),
            None => Outcome::Wrong(format!("missing, where {floor} was acknowledged")),
            Some(shown) if shown < floor => Outcome::Wrong(format!("{shown}, where {floor} was acknowledged")),
            Some(shown) if shown > self.sent.load(Ordering::SeqCst) => {
                Outcome::Wrong(format!("{shown} was never written"))
            }
            Some(_) => right(stale),
        }
    }
}

fn right(stale: Option<Duration>) -> Outcome {
    stale.map_or(Outcome::Right, Outcome::Stale)
}

/// The age, if one is told, and the version in a reply; what else it may be.
fn taken_apart(reply: &Reply) -> Result<(Option<Duration>, Option<u64>), Outcome> {
    let (attributes, reply) = reply.attributes();
    let told = attributes.chunks(2).find(|pair| pair[0] == Reply::bulk("age-ms"));
    let age = told.and_then(|pair| Some(Duration::from_millis(u64::try_from(pair[1].integer()?).ok()?)));
    if age.is_none() && !attributes.is_empty() {
        return Err(Outcome::Wrong(format!("attributes without an age: {attributes:?}")));
    }
    match reply {
        Reply::Null => Ok((age, None)),
        Reply::Error(text) => Err(Outcome::Error(text.clone())),
        reply => {
            let text = reply.text().unwrap_or_default();
            let version = text.strip_prefix('v').and_then(|number| number.parse().ok());
            version.map_or_else(
                || Err(Outcome::Wrong(format!("nobody wrote {reply:?}"))),
                |version| Ok((age, Some(version))),
            )
        }
    }
}

// === the threads ===

/// A connection that is made again when it was closed.
struct Link<'a> {
    shared: &'a Shared,
    client: Option<Client>,
}

impl Link<'_> {
    fn call(&mut self, command: &[&str]) -> Result<Reply, String> {
        let reply = self.try_call(command);
        if reply.is_err() {
            self.client = None;
        }
        reply.map_err(|error| format!("connection: {error}"))
    }

    fn try_call(&mut self, command: &[&str]) -> std::io::Result<Reply> {
        if self.client.is_none() {
            let mut client = Client::try_connect(self.shared.address)?;
            client.try_call(&["HELLO", Protocol::Resp3.number()])?;
            client.try_call(&["LARDER", "STALENESS", "ON"])?;
            self.client = Some(client);
        }
        self.client.as_mut().expect("made above").try_call(command)
    }
}

struct Asker<'a> {
    link: Link<'a>,
    kind: Kind,
    samples: Vec<Sample>,
}

impl Asker<'_> {
    fn work(mut self) -> Vec<Sample> {
        let mut turn = 0;
        while !self.link.shared.stopped() {
            let next = Instant::now() + PACE;
            match self.kind {
                Kind::Cached => self.read_cached(turn),
                Kind::Uncached => self.read_uncached(),
                Kind::Write | Kind::Own => self.write_and_read(),
            }
            turn += 1;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.samples
    }

    fn read_cached(&mut self, turn: usize) {
        let shared = self.link.shared;
        let key = &shared.keys.cached[turn % shared.keys.cached.len()];
        self.ask(Kind::Cached, &["GET", key], |sent, reply| shared.judge_cached(sent, reply));
    }

    /// TTL of a key that is not there is no cached form.
    fn read_uncached(&mut self) {
        let shared = self.link.shared;
        self.ask(Kind::Uncached, &["TTL", &shared.keys.uncached], |_, reply| match reply {
            Reply::Integer(-2) => Outcome::Right,
            Reply::Error(text) => Outcome::Error(text.clone()),
            other => Outcome::Wrong(format!("TTL: {other:?}")),
        });
    }

    fn write_and_read(&mut self) {
        let shared = self.link.shared;
        let number = shared.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let acknowledged =
            self.ask(Kind::Write, &["SET", &shared.keys.counter, &value(number)], |_, reply| match reply {
                Reply::Error(text) => Outcome::Error(text.clone()),
                reply if *reply == Reply::ok() => {
                    shared.acknowledged.fetch_max(number, Ordering::SeqCst);
                    Outcome::Right
                }
                other => Outcome::Wrong(format!("SET: {other:?}")),
            });
        let floor = shared.acknowledged.load(Ordering::SeqCst);
        self.ask(Kind::Own, &["GET", &shared.keys.counter], |_, reply| shared.judge_own(floor, !acknowledged, reply));
    }

    /// Whether it was right.
    fn ask(&mut self, kind: Kind, command: &[&str], judge: impl FnOnce(Instant, &Reply) -> Outcome) -> bool {
        let sent = Instant::now();
        let reply = self.link.call(command);
        let answered = Instant::now();
        let outcome = reply.map_or_else(Outcome::Error, |reply| judge(sent, &reply));
        let right = outcome == Outcome::Right;
        self.samples.push(Sample { kind, sent, answered, outcome });
        right
    }
}

/// Looks at the ladder on and on, and keeps what differs.
fn watch(shared: &Shared) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut client: Option<Client> = None;
    while !shared.stopped() {
        let link = client.take().map_or_else(|| Client::try_connect(shared.address), Ok);
        if let Ok(mut link) = link
            && let Ok(standings) = standing::try_standings(&mut link)
        {
            client = Some(link);
            let key = |all: &[Standing]| -> Vec<[String; 3]> {
                all.iter().map(|of| [of.endpoint(), of.breaker(), of.rung()].map(str::to_owned)).collect()
            };
            if turns.last().is_none_or(|last| key(&last.standings) != key(&standings)) {
                turns.push(Turn { at: Instant::now(), standings });
            }
        }
        thread::sleep(LOOK);
    }
    turns
}
