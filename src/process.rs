//! The process: binds, starts the workers, says where everything is, and waits for the end.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::app::{App, Backend, Stage};
use crate::cache::NearCache;
use crate::cli::{self, Cli, Loaded, Source};
use crate::clock::Micros;
use crate::command::Table;
use crate::config::{Config, Kind, LogFormat, Upstream, Workers};
use crate::counters::Counters;
use crate::drain::{Cause, Doors, Signals, drain};
use crate::events::{Events, Kind as Event};
use crate::handover::give::{Office, Successor};
use crate::handover::take::Predecessor;
use crate::history::History;
use crate::inbox::{Inbox, Letter};
use crate::inherited::Inherited;
use crate::invalidation::{self, Channels};
use crate::ladder::runway::Runway;
use crate::listener::{self, Listener};
use crate::logs::{Logs, sample};
use crate::memory::Memory;
use crate::orders::{Order, Orders};
use crate::origin::{Databases, Origin};
use crate::pubsub::Hub;
use crate::reload::Reloader;
use crate::reload::watch::Watch;
use crate::reloads::Reloads;
use crate::route;
use crate::rules::Rules;
use crate::session::clients::Clients;
use crate::snapshot::{Ownership, Snapshot};
use crate::traces::Tracer;
use crate::tracking::Register;
use crate::tracking::broadcast::Broadcasts;
use crate::upstream::Endpoint;
use crate::{admin, handover, learning, report, supervisor, systemd, topology, worker};

/// Exit code when the process cannot start although its configuration is good (an address is taken).
const CANNOT_START: u8 = 1;
/// How long the workers have to end at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs Larder until it is told to stop.
pub fn run(cli: Cli, loaded: Loaded, logs: Logs) -> ExitCode {
    Micros::now();
    // Before there are threads: it changes the environment.
    let inherited = match systemd::sockets() {
        Ok(inherited) => inherited,
        Err(error) => return fail(&error),
    };
    // The control side: accepting, the admin page, what the upstream tells of itself, signals.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(start(cli, loaded, logs, inherited)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "larder: {error}");
    ExitCode::from(CANNOT_START)
}

async fn start(cli: Cli, loaded: Loaded, logs: Logs, inherited: Inherited) -> Result<(), String> {
    let Loaded { config, source } = loaded;
    let watch = match &source {
        Source::File(path) => Watch::begin(path, &config),
        Source::Embedded | Source::Url => None,
    };
    // From here on a signal ends the process in good order, also before it serves.
    let mut signals = Signals::catch()?;
    let hangups = signal(SignalKind::hangup()).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let Sockets { listeners, admin, predecessor, office } = sockets(&config, inherited).await?;
    let app = Arc::new(App { logs, ..assemble(config, source.to_string())? });
    tokio::spawn(sample::keep());
    *lock(&app.listening) = listeners.iter().map(|listener| listener.name.clone()).collect();
    *lock(&app.admin) = admin.as_ref().and_then(|socket| socket.local_addr().ok()).map(|address| address.to_string());
    let ownership = if predecessor.is_some() { Ownership::InTime } else { Ownership::Now };
    let snapshot = Snapshot::open(&app, ownership)?.map(Arc::new);
    if let Some(snapshot) = &snapshot {
        snapshot.load(&app);
    }
    let workers = start_workers(&app)?;
    tokio::spawn(report::sampler::keep(Arc::clone(&app)));
    let mut page = admin.map(|socket| admin::serve(socket, Arc::clone(&app)));
    // While the process before serves, it answers there too.
    let mut page_task = page.take_if(|_| predecessor.is_none()).map(tokio::spawn);
    tokio::select! {
        () = look_after_all(&app) => {}
        signal = signals.next() => {
            tracing::info!("{signal}: stopping before anybody was served");
            return Ok(());
        }
    }
    if let Some(snapshot) = &snapshot {
        tokio::spawn(Arc::clone(snapshot).keep(Arc::clone(&app)));
    }
    if let Some(predecessor) = &predecessor {
        predecessor.still_waits().await?;
    }
    say(&app, &banner(&app));
    let mut doors = Doors::open(listeners, &app);
    // As at the start, if it came from a file.
    let reading = move || cli.config.is_some().then(|| cli::load(&cli).map(|loaded| loaded.config));
    let reloader = Arc::new(Reloader::new(Arc::clone(&app), Arc::new(reading)));
    if let Some(watch) = watch {
        tokio::spawn(watch.keep(Arc::clone(&app)));
    }
    app.enter(Stage::Serving);
    page_task = page.map(tokio::spawn).or(page_task);
    relieve(&app, predecessor).await?;
    systemd::serving();
    tokio::spawn(systemd::watch(Arc::clone(&app)));
    let (successors, successor) = mpsc::channel(1);
    let office = office.map(|office| tokio::spawn(office.keep(Arc::clone(&app), successors)));

    let (by, heir) = carry_out(&app, reloader, &mut signals, hangups, successor).await?;

    let cause = if heir.is_some() { Cause::HandedOver } else { Cause::Ordered };
    if cause == Cause::Ordered {
        systemd::stopping();
        // Its copies of the sockets would keep them open, and whoever asks now shall start as if nobody were there.
        drop(office.inspect(|task| task.abort()));
    }
    let closed = || {
        let Some(heir) = heir else { return };
        // The admin page is the other one's too.
        page_task.inspect(|task| task.abort());
        let _ = heir.send(());
    };
    drain(&app, &mut doors, &mut signals, &by, cause, closed).await;
    finish(&app, &workers, snapshot.as_deref()).await;
    Ok(())
}

/// Where clients and the operator connect, and how the next process will ask for that.
struct Sockets {
    listeners: Vec<Listener>,
    admin: Option<TcpListener>,
    /// The process that serves until this one does.
    predecessor: Option<Predecessor>,
    office: Option<Office>,
}

/// Takes what the process before or systemd has opened already, and binds the rest.
async fn sockets(config: &Config, mut inherited: Inherited) -> Result<Sockets, String> {
    let taken = match &config.handover {
        Some(path) => handover::take::take(path).await?,
        None => None,
    };
    let (mut predecessor, mut office) = (None, None);
    if let Some(taken) = taken {
        inherited.extend(taken.sockets);
        (predecessor, office) = (Some(taken.predecessor), taken.office);
    }
    let mut listeners = Vec::new();
    for (number, listener) in config.listeners.iter().enumerate() {
        listeners.push(listener::bind(number, listener, &mut inherited).await?);
    }
    let admin = match inherited.take_tcp(config.admin.address) {
        Some((socket, _)) => Some(admin::adopt(socket)?),
        None => admin::bind(&config.admin).await?,
    };
    inherited.finish()?;
    let office = match &config.handover {
        Some(path) if office.is_some() || predecessor.is_none() => {
            let copy = |socket: &TcpListener| socket.as_fd().try_clone_to_owned().ok();
            let admin = admin.as_ref().and_then(copy).map(|socket| (config.admin.address.to_string(), socket));
            Some(Office::open(path, office, &listeners, admin)?)
        }
        _ => None,
    };
    Ok(Sockets { listeners, admin, predecessor, office })
}

fn start_workers(app: &Arc<App>) -> Result<Vec<JoinHandle<io::Result<()>>>, String> {
    let start = |number| {
        let app = Arc::clone(app);
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        thread.spawn(move || worker::run(app, number)).map_err(|error| format!("cannot start a worker: {error}"))
    };
    (0..app.inboxes.len() as u16).map(start).collect()
}

/// Tells the process before, if there is one, that this one serves.
async fn relieve(app: &App, predecessor: Option<Predecessor>) -> Result<(), String> {
    let text = match predecessor {
        Some(predecessor) => {
            let text = format!("serving in place of process {} (version {})", predecessor.pid, predecessor.version);
            predecessor.relieve().await?;
            text
        }
        None => format!("larder {} serves", env!("CARGO_PKG_VERSION")),
    };
    app.events.info(Event::Process, None, text);
    Ok(())
}

/// Carries out what is asked of the process, until it is asked to end: who asks for that, and who is told when this process accepts no more.
async fn carry_out(
    app: &App,
    reloader: Arc<Reloader>,
    signals: &mut Signals,
    mut hangups: Signal,
    mut successor: mpsc::Receiver<Successor>,
) -> Result<(String, Option<oneshot::Sender<()>>), String> {
    // (Who asks for something when this has returned is told that nobody listens.)
    let mut orders = app.orders.hear().ok_or("somebody else carries out the orders")?;
    loop {
        tokio::select! {
            signal = signals.next() => return Ok((signal.to_owned(), None)),
            _ = hangups.recv() => {
                let reloader = Arc::clone(&reloader);
                tokio::spawn(async move { reloader.reload("SIGHUP").await });
            }
            Some(Successor { pid, told }) = successor.recv() => {
                let by = pid.map_or("another process serves".to_owned(), |pid| format!("process {pid} serves"));
                return Ok((by, Some(told)));
            }
            Some(order) = orders.recv() => match order {
                Order::Drain { by } => return Ok((by.to_owned(), None)),
                Order::Reload { by, told } => {
                    let reloader = Arc::clone(&reloader);
                    // Whoever asked may have gone.
                    tokio::spawn(async move { drop(told.send(reloader.reload(by).await)) });
                }
            },
        }
    }
}

/// Ends the workers, then what they have left to be told or written.
async fn finish(app: &Arc<App>, workers: &[JoinHandle<io::Result<()>>], snapshot: Option<&Snapshot>) {
    app.enter(Stage::Ending);
    sample::tell();
    for inbox in &app.inboxes {
        inbox.post([Letter::Stop]);
    }
    let patience = Instant::now() + FAREWELL;
    let busy = || workers.iter().any(|worker| !worker.is_finished()) || !invalidation::has_told_all(app);
    while Instant::now() < patience && busy() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if app.tracer.is_some() {
        let app = Arc::clone(app);
        let finished = tokio::task::spawn_blocking(move || app.tracer.as_ref().map(Tracer::finish));
        let _ = tokio::time::timeout(FAREWELL, finished).await;
    }
    if let Some(snapshot) = snapshot {
        snapshot.finish(app);
    }
}

/// Starts what looks after every upstream; returns when something is known of each, or it is not to be had: the first client is told the
/// upstream's version, not a guess, unless the upstream is not there.
async fn look_after_all(app: &Arc<App>) {
    let learned: Vec<_> = app.origins().map(|origin| look_after(app, origin)).collect();
    invalidation::keep(app);
    if learned.is_empty() {
        return;
    }
    tokio::spawn(supervisor::count_runway(Arc::clone(app)));
    for (first, patience) in &learned {
        let _ = tokio::time::timeout(*patience, first.notified()).await;
    }
}

/// Starts what keeps an upstream's map, its nodes and what is known of it; what tells when something is known of it, and how long to
/// wait for that.
fn look_after(app: &Arc<App>, origin: &Origin) -> (Arc<Notify>, Duration) {
    let number = origin.number;
    let (mapped, learned) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (watcher, first) = (Arc::clone(app), Arc::clone(&mapped));
    tokio::spawn(async move { topology::keep(watcher, number, || first.notify_one()).await });
    tokio::spawn(supervisor::keep(Arc::clone(app), number));
    let (watcher, first) = (Arc::clone(app), Arc::clone(&learned));
    tokio::spawn(async move {
        mapped.notified().await;
        match watcher.origin(number) {
            Some(origin) if origin.is_redis() => learning::keep(&watcher, origin, || first.notify_one()).await,
            _ => first.notify_one(),
        }
    });
    (learned, origin.model.connect_timeout)
}

/// Puts the parts together.
pub(crate) fn assemble(config: Config, source: String) -> Result<App, String> {
    let workers = match config.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Fixed(workers) => workers,
    };
    let home = route::home(&config);
    let first = config.upstreams.values().nth(usize::from(home)).ok_or("no upstream is configured")?.database;
    let databases: Vec<_> =
        config.upstreams.values().map(|upstream| Databases { first, own: upstream.database }).collect();
    let mut upstreams = Vec::new();
    for (number, (name, upstream)) in (0..).zip(&config.upstreams) {
        let mut backend = backend(number, name, upstream)?;
        if let Backend::Servers(origin) = &mut backend {
            origin.takes_logins = number == home;
            origin.databases = databases[usize::from(number)];
        }
        upstreams.push(backend);
    }
    let run_id = run_id();
    Ok(App {
        tracer: Tracer::start(&config.traces, &run_id)?,
        table: ArcSwap::from_pointee(Table::builtin()),
        runway: Runway::default(),
        stale_told: AtomicBool::new(false),
        near: NearCache::new(config.near_cache.max_memory, config.near_cache.max_entry),
        names: config.upstreams.keys().cloned().collect(),
        home,
        several: upstreams.len() > 1,
        upstreams,
        databases,
        channels: Channels::of(&config),
        register: Register::default(),
        broadcasts: Broadcasts::default(),
        hub: Hub::default(),
        clients: Clients::default(),
        inboxes: (0..workers).map(|_| Arc::<Inbox>::default()).collect(),
        taken: (0..workers).map(|_| AtomicU64::new(1)).collect(),
        taken_news: Notify::new(),
        counters: (0..workers).map(|_| Arc::<Counters>::default()).collect(),
        hot: (0..workers).map(|_| Mutex::default()).collect(),
        listening: Mutex::default(),
        admin: Mutex::default(),
        started: (Instant::now(), SystemTime::now()),
        run_id,
        refused: AtomicU64::new(0),
        events: Events::default(),
        history: History::default(),
        reloads: Reloads::default(),
        logs: Logs::default(),
        orders: Orders::default(),
        at_stage: AtomicU8::default(),
        lent: AtomicBool::new(false),
        rules: ArcSwap::from_pointee(Rules::of(1, config, home)?),
        source,
    })
}

fn backend(number: u16, name: &str, upstream: &Upstream) -> Result<Backend, String> {
    match (upstream.kind, upstream.endpoints.first()) {
        (Kind::Memory, _) => Ok(Backend::Memory(Box::new(Memory::new(upstream.max_memory)))),
        (_, Some(address)) => {
            let endpoint =
                Endpoint::of(name, upstream, address).map_err(|error| format!("upstreams.{name}.tls: {error}"))?;
            let origin = Origin::new(number, name, upstream, endpoint);
            match upstream.kind {
                Kind::Redis => drop(origin.publish(topology::standalone(&origin, upstream))),
                Kind::Memcached | Kind::RedisRing => drop(origin.publish(topology::ring(&origin, upstream))),
                // Who their servers are is told by others.
                Kind::RedisCluster | Kind::RedisSentinel | Kind::Memory => {}
            }
            Ok(Backend::Servers(Box::new(origin)))
        }
        (_, None) => Err(format!("upstreams.{name}: there is no endpoint")),
    }
}

/// 40 hex digits, as Redis's run_id.
fn run_id() -> String {
    use std::hash::BuildHasher;
    let random = || foldhash::fast::RandomState::default().hash_one((SystemTime::now(), std::process::id()));
    let mut id = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    id.truncate(40);
    id
}

fn banner(app: &App) -> String {
    let rules = app.rules();
    let shown = |backend: &Backend, name: &str| match backend {
        Backend::Memory(_) if !app.several => {
            "memory (in this process; --upstream redis://host:port puts Larder in front of a Redis)".to_owned()
        }
        Backend::Memory(_) => format!("{name} (memory in this process)"),
        Backend::Servers(origin) => {
            let more =
                rules.config.upstreams.get(name).map_or(0, |upstream| upstream.endpoints.len().saturating_sub(1));
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{name} ({} at {}{more})", origin.kind.name(), origin.model.address)
        }
    };
    let list: Vec<_> = app.upstreams.iter().zip(&app.names).map(|(of, name)| shown(of, name)).collect();
    let upstream = list.join(", ");
    let admin = lock(&app.admin).as_ref().map_or("none".to_owned(), |address| format!("http://{address}"));
    format!(
        "larder {}\n  listening  {}\n  upstream   {upstream}\n  config     {}\n  admin      {admin}\n  workers    {}\n",
        env!("CARGO_PKG_VERSION"),
        lock(&app.listening).join(", "),
        app.source,
        app.inboxes.len(),
    )
}

fn say(app: &App, text: &str) {
    if app.logs.format() == LogFormat::Json {
        // Every line is to be JSON.
        let words: Vec<_> = text.split_whitespace().collect();
        return tracing::info!("{}", words.join(" "));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
