//! Looking after the health of every node: health checks, the breaker's way back, and telling of every rung that is entered.
//!
//! One task for each node, on the control thread. While a breaker is closed its node is asked at the configured interval. When it
//! opens, the node is asked at once and then at growing intervals, never longer than the configured one; all of them are shortened at
//! random, so that many Larders do not ask at the same moment. No client's command is ever sent to try whether a node is there (but for
//! the rung `passthrough`, whose word that is).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app::App;
use crate::clock::Micros;
use crate::events::Kind;
use crate::ladder::Rung;
use crate::origin::{Node, Origin};
use crate::upstream::breaker::State;
use crate::upstream::health::Check;

/// The first pause between two questions to a node that is down.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two questions to a node that has just answered again.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// The same for one that has to prove itself for longer.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// By how much at most a pause is shortened, as a share of it.
const JITTER: f64 = 0.2;
/// How often the runway is moved on.
const RUNWAY: Duration = Duration::from_secs(1);

/// Looks after all nodes of an upstream, for ever.
pub async fn keep(app: Arc<App>, upstream: u16) {
    let Some(origin) = app.origin(upstream) else { return };
    let mut attended: HashMap<u32, Arc<Node>> = HashMap::new();
    loop {
        attended.retain(|_, node| !node.retired());
        for node in origin.map().nodes() {
            attended.entry(node.number).or_insert_with(|| {
                node.breaker.supervise();
                tokio::spawn(attend(Arc::clone(&app), Arc::clone(node)));
                Arc::clone(node)
            });
        }
        // A rung may have been forced or left.
        attended.values().for_each(|node| node.breaker.news.notify_one());
        tokio::select! {
            () = origin.mapped.notified() => {}
            () = tokio::time::sleep(RUNWAY) => origin.end_forced(Micros::now()),
        }
    }
}

/// Keeps count of how far the cache would carry, for ever.
pub async fn count_runway(app: Arc<App>) {
    let mut runway = tokio::time::interval(RUNWAY);
    loop {
        runway.tick().await;
        let hits = app.total(|c| c.hits.value());
        let past = app.total(|c| c.misses.value() + c.reads_elsewhere.value());
        app.runway.update(hits + past, hits + app.total(|c| c.at_hand.value()));
    }
}

/// Looks after one node until it retires.
async fn attend(app: Arc<App>, node: Arc<Node>) {
    let Some(origin) = app.origin(node.upstream) else { return };
    let settings = app.rules().config.upstreams[&origin.name].health_check;
    let breaker = &node.breaker;
    let mut check = Check::default();
    let mut watch = Watch::default();
    let mut before = State::Closed;
    let mut asked_at = Micros::now();
    let mut pause = shortened(settings.interval);
    while !node.retired() {
        let step = watch.look(&app, origin, &node);
        let due = asked_at.plus(Micros::of(pause));
        let wait = due.min(step).since(Micros::now()).duration();
        let told = tokio::time::timeout(wait, breaker.news.notified()).await.is_ok();
        let state = breaker.state();
        if state == State::Open && before == State::Closed {
            pause = FIRST_PAUSE.min(settings.interval);
        } else if told && state != State::Closed {
            // Somebody has heard from it: perhaps it is there again.
            pause = pause.min(LONG_PAUSE);
        }
        before = state;
        let due = asked_at.plus(Micros::of(pause));
        if Micros::now() < due {
            continue;
        }
        asked_at = Micros::now();
        let answer = check.ask(&node.endpoint, breaker, settings.timeout).await;
        origin.checks[usize::from(answer.is_err())].fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(()) => breaker.probe_succeeded(Micros::now()),
            Err(why) => breaker.probe_failed(Micros::now(), asked_at, &why),
        }
        let state = breaker.state();
        pause = match (before, state) {
            (State::Closed, State::Open) => FIRST_PAUSE.min(settings.interval),
            (_, State::Open) => shortened((pause * 2).clamp(FIRST_PAUSE, settings.interval.max(FIRST_PAUSE))),
            (_, State::HalfOpen) if breaker.hold() > Micros(0) => LONG_PAUSE,
            (_, State::HalfOpen) => SHORT_PAUSE,
            (_, State::Closed) => shortened(settings.interval),
        };
        if before != State::Closed && state == State::Closed {
            node.tracked.nudge();
            origin.doubt.notify_one();
        }
        before = state;
    }
}

/// A pause, shorter by a random part.
fn shortened(pause: Duration) -> Duration {
    use std::hash::BuildHasher;
    let dice = foldhash::fast::RandomState::default().hash_one(Micros::now().0);
    let share = (dice >> 11) as f64 / (1u64 << 53) as f64;
    pause.mul_f64(1.0 - JITTER * share)
}

/// The rungs on which a node was seen last, by the names of the ladders.
#[derive(Default)]
struct Watch {
    rungs: HashMap<String, Rung>,
}

impl Watch {
    /// Tells of rungs that were entered since the last look; when the next one will be.
    fn look(&mut self, app: &App, origin: &Origin, node: &Node) -> Micros {
        let now = Micros::now();
        let mut next = Micros::NEVER;
        if let Some(until) = origin.forced(now).and_then(|forced| forced.until) {
            next = until;
        }
        let rules = app.rules();
        self.rungs.retain(|name, _| rules.ladders.iter().any(|ladder| ladder.name == *name));
        for number in rules.routes.ladders() {
            let ladder = rules.ladders.get(number);
            let standing = origin.standing(node, ladder, now);
            if let Some((_, at)) = standing.next {
                next = next.min(at);
            }
            let before = self.rungs.insert(ladder.name.clone(), standing.rung).unwrap_or(Rung::Normal);
            if before == standing.rung {
                continue;
            }
            origin.rungs[standing.rung as usize].fetch_add(1, Ordering::Relaxed);
            let (upstream, address) = (&origin.name, &node.endpoint.address);
            let (before, after, why) = (before.name(), standing.rung.name(), origin.reason(node, now));
            let of = if ladder.name == "default" { String::new() } else { format!(" on ladder {}", ladder.name) };
            let text = format!("upstream '{upstream}' at {address}: {before} -> {after}{of} ({why})");
            match standing.rung {
                Rung::Normal => app.events.info(Kind::Rung, Some(upstream), text),
                _ => app.events.warn(Kind::Rung, Some(upstream), text),
            }
        }
        next
    }
}
