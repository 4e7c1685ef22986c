//! A subscription connection: the one connection to an endpoint over which everything is held that clients of one
//! identity have subscribed to there.
//!
//! Wishes ([`Subscriber::wish`]) come from all workers; what happens is told to whoever runs the connection, in the
//! order of the stream. Each wish is a command of its own, so each is confirmed or refused by itself. After a loss the
//! connection is made again, with growing pauses, and everything that is still wanted is subscribed to again. A
//! heartbeat bounds how long a silent loss can last. While nothing is wanted there is no connection.
//!
//! Replies and messages share the stream. In RESP3 messages are pushes, in RESP2 (before Redis 6) arrays of the same
//! elements; nothing but subscribing and the heartbeat is ever sent, so the two are told apart in either.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::endpoint::{Credentials, Endpoint, Failure, Identity};
use super::wire::{self, Wire, malformed};
use crate::clock::Micros;
use crate::logs::sample;
use crate::resp::scan::Scanner;
use crate::resp::{Proto, encode, number};

/// The name of a channel or a pattern, kept once for all who know it.
pub type Name = Arc<[u8]>;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    Shard,
}

/// What is wanted of the connection.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Subscribe. The tag comes back with the answer: a name may be wanted, given up and wanted again.
    Subscribe(Kind, Name, u64),
    /// Not any more.
    Unsubscribe(Kind, Name),
}

/// What happened, in the order of the stream.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection is there; everything that is wanted is being subscribed to.
    Up,
    /// No connection could be made: the error that a client would get, and for how long none is attempted again.
    Unreachable(&'a str, Duration),
    /// The connection is gone, and with it every subscription until it is confirmed again.
    Lost,
    /// Subscribed: what is published from here on arrives.
    Confirmed(Kind, &'a [u8], u64),
    /// Not subscribed, in the endpoint's words.
    Refused(Kind, &'a [u8], u64, &'a str),
    /// The endpoint has ended a subscription of its own accord; it will be asked again.
    Dropped(Kind, &'a [u8]),
    /// A message for a channel, or for a channel that a pattern fits: the whole frame, in either protocol version.
    Message(Kind, &'a [u8], &'a [u8]),
    /// A heartbeat that was sent then was answered: everything that was published before has been handed on.
    Alive {
        /// When it was sent.
        sent_at: Micros,
    },
    /// A batch of frames has been handed on; what has gathered may be passed along.
    Batch,
    /// Nothing has been wanted for a while.
    Idle,
}

/// How the connection shall go on after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// As ever.
    Go,
    /// Read nothing for a moment (after a [`Event::Batch`]): those who get the messages are behind.
    Pause,
    /// Asking once more, with the next heartbeat (after [`Event::Refused`]; otherwise the wish is forgotten).
    Again,
    /// Not at all (after [`Event::Idle`]).
    End,
}

/// The handle through which all workers say what they want.
#[derive(Debug, Default)]
pub struct Subscriber {
    wishes: Mutex<Vec<Wish>>,
    waker: AtomicWaker,
}

/// What is awaited of the endpoint.
#[derive(Debug)]
enum Awaited {
    Subscribed(Kind, Name, u64),
    Unsubscribed(Kind, Name),
    Heartbeat,
}

/// Why a connection ended.
enum End {
    Lost(io::Error),
    /// Nothing was wanted of it for a while.
    Unused,
}

/// The reader's and writer's state while there is a connection.
struct Stream<'a, H> {
    handler: &'a mut H,
    wanted: &'a mut Wanted,
    out: Vec<u8>,
    sent: usize,
    awaited: VecDeque<(Awaited, Micros)>,
    heard_at: Micros,
    /// When something was last wanted.
    used_at: Micros,
    pause: Option<Pin<Box<Sleep>>>,
    /// What is to be asked for once more with the next heartbeat.
    again: Vec<(Kind, Name)>,
}

/// Everything that is wanted, with the tag of the wish.
type Wanted = HashMap<(Kind, Name), u64>;

/// The name under which the connection shows itself in the endpoint's CLIENT LIST.
const CLIENT_NAME: &str = "larder-pubsub";
const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// A connection of which nothing has been wanted for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// How long nothing is read when those who get the messages are behind.
const PAUSE: Duration = Duration::from_millis(1);
const READ: usize = 64 << 10;

/// Keeps the connection for `subscriber` up while something is wanted of it. Runs on one worker. Without
/// `credentials` it speaks as the configured user.
pub async fn run<H>(
    endpoint: Arc<Endpoint>,
    credentials: Option<Arc<Credentials>>,
    subscriber: Arc<Subscriber>,
    mut handler: H,
) where
    H: FnMut(Event<'_>) -> Onward,
{
    let mut wanted = Wanted::new();
    let mut failures = 0u32;
    loop {
        subscriber.take_up(|wish| note(&mut wanted, &wish));
        if wanted.is_empty() {
            if tokio::time::timeout(IDLE, subscriber.wished()).await.is_err() && handler(Event::Idle) == Onward::End {
                return;
            }
            continue;
        }
        let opened = open(&endpoint, credentials.as_ref()).await;
        let failure = match opened {
            Ok(wire) => {
                let since = Micros::now();
                handler(Event::Up);
                let end = Stream::new(&mut handler, &mut wanted).serve(wire, &endpoint, &subscriber).await;
                let End::Lost(error) = end else { continue };
                // One that ends as soon as it is made is no better than none.
                let brief = Micros::now().since(since) < Micros::of(RECONNECT.1);
                failures = if brief { failures + 1 } else { 0 };
                handler(Event::Lost);
                Failure::Lost(error.to_string())
            }
            Err(failure) => {
                failures += 1;
                handler(Event::Unreachable(&endpoint.error(&failure), pause_after(failures)));
                failure
            }
        };
        handler(Event::Batch);
        if failures < 2 && sample::INTERRUPTED.admits() {
            tracing::warn!(upstream = %endpoint.upstream, "subscriptions interrupted: {}", endpoint.error(&failure));
        }
        tokio::time::sleep(pause_after(failures)).await;
    }
}

/// How long no connection is attempted after so many that failed.
fn pause_after(failures: u32) -> Duration {
    (RECONNECT.0 * 2u32.saturating_pow(failures.min(16))).min(RECONNECT.1)
}

/// Connects, in RESP3 if the endpoint has it.
async fn open(endpoint: &Endpoint, own: Option<&Arc<Credentials>>) -> Result<Wire, Failure> {
    let credentials = own.or(endpoint.credentials.as_ref()).cloned();
    let identity = |proto| Identity { database: 0, proto, credentials: credentials.clone() };
    match wire::open(endpoint, &identity(Proto::Resp3), CLIENT_NAME, &[]).await {
        Err(Failure::Refused(words)) if words.starts_with("NOPROTO") || words.starts_with("ERR unknown command") => {
            wire::open(endpoint, &identity(Proto::Resp2), CLIENT_NAME, &[]).await
        }
        opened => opened,
    }
}

fn note(wanted: &mut Wanted, wish: &Wish) {
    match wish {
        Wish::Subscribe(kind, name, tag) => drop(wanted.insert((*kind, Arc::clone(name)), *tag)),
        Wish::Unsubscribe(kind, name) => drop(wanted.remove(&(*kind, Arc::clone(name)))),
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind, in the order of [`Kind::index`].
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// Its place in an array of one for each kind.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The command, and the word in its confirmation.
    pub fn subscribe(self) -> &'static str {
        ["subscribe", "psubscribe", "ssubscribe"][self.index()]
    }

    /// The command that ends it, and the word in its confirmation.
    pub fn unsubscribe(self) -> &'static str {
        ["unsubscribe", "punsubscribe", "sunsubscribe"][self.index()]
    }

    /// The word in a message.
    pub fn message(self) -> &'static str {
        ["message", "pmessage", "smessage"][self.index()]
    }

    fn of(word: &[u8], words: impl Fn(Self) -> &'static str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| words(*kind).as_bytes() == word)
    }
}

// === impl Subscriber ===

impl Subscriber {
    /// Says what is wanted. Wishes of one caller are done in their order.
    pub fn wish(&self, wish: Wish) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.push(wish);
        if wishes.len() == 1 {
            self.waker.wake();
        }
    }

    fn take_up(&self, mut each: impl FnMut(Wish)) {
        let wishes = std::mem::take(&mut *self.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        wishes.into_iter().for_each(&mut each);
    }

    /// Waits for a wish.
    async fn wished(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            let none = self.wishes.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if none { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

// === impl Stream ===

impl<'a, H: FnMut(Event<'_>) -> Onward> Stream<'a, H> {
    /// On a new connection, everything that is wanted is asked for first of all.
    fn new(handler: &'a mut H, wanted: &'a mut Wanted) -> Self {
        let now = Micros::now();
        let mut stream = Self {
            handler,
            wanted,
            out: Vec::new(),
            sent: 0,
            awaited: VecDeque::new(),
            heard_at: now,
            used_at: now,
            pause: None,
            again: Vec::new(),
        };
        for ((kind, name), tag) in stream.wanted.iter() {
            encode::command(&mut stream.out, &[kind.subscribe().as_bytes(), name]);
            stream.awaited.push_back((Awaited::Subscribed(*kind, Arc::clone(name), *tag), now));
        }
        stream
    }

    async fn serve(&mut self, mut wire: Wire, endpoint: &Endpoint, subscriber: &Subscriber) -> End {
        let mut scratch = vec![0; READ];
        let mut beat = timer(endpoint.heartbeat.interval);
        let timeout = Micros::of(endpoint.heartbeat.timeout);
        // A timer of its own: a heartbeat's deadline may lie before the next beat.
        let mut watch = timer((endpoint.heartbeat.timeout / 4).max(Duration::from_millis(5)));
        let end = poll_fn(|cx| {
            if ticked(&mut beat, cx) {
                let now = Micros::now();
                if !self.wanted.is_empty() {
                    self.used_at = now;
                } else if now.since(self.used_at) > Micros::of(IDLE) {
                    return Poll::Ready(End::Unused);
                }
                encode::command(&mut self.out, &[b"PING"]);
                self.awaited.push_back((Awaited::Heartbeat, now));
                self.ask_again(now);
            }
            if ticked(&mut watch, cx) && self.pause.is_none() && self.silent(timeout) {
                let text = "the heartbeat was not answered in time";
                return Poll::Ready(End::Lost(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            subscriber.waker.register(cx.waker());
            loop {
                subscriber.take_up(|wish| self.grant(wish));
                if let Poll::Ready(Err(error)) = wire.poll_send(cx, &mut self.out, &mut self.sent) {
                    return Poll::Ready(End::Lost(error));
                }
                if let Some(pause) = &mut self.pause {
                    if pause.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.pause = None;
                    // The silence was ours.
                    self.heard_at = Micros::now();
                }
                match wire.poll_replies(cx, &mut scratch, |scanner, bytes| self.receive(scanner, bytes)) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(End::Lost(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        wire.close().await;
        end
    }

    fn ask_again(&mut self, now: Micros) {
        for (kind, name) in std::mem::take(&mut self.again) {
            // Unless it was given up meanwhile.
            if let Some(tag) = self.wanted.get(&(kind, Arc::clone(&name))) {
                encode::command(&mut self.out, &[kind.subscribe().as_bytes(), &name]);
                self.awaited.push_back((Awaited::Subscribed(kind, name, *tag), now));
            }
        }
    }

    /// Whether an answer is overdue, and nothing else has come either.
    fn silent(&self, timeout: Micros) -> bool {
        let now = Micros::now();
        let late = self.awaited.front().is_some_and(|(_, sent_at)| now.since(*sent_at) > timeout);
        late && now.since(self.heard_at) > timeout
    }

    /// Turns a wish into a command.
    fn grant(&mut self, wish: Wish) {
        note(self.wanted, &wish);
        let awaited = match wish {
            Wish::Subscribe(kind, name, tag) => {
                encode::command(&mut self.out, &[kind.subscribe().as_bytes(), &name]);
                Awaited::Subscribed(kind, name, tag)
            }
            Wish::Unsubscribe(kind, name) => {
                encode::command(&mut self.out, &[kind.unsubscribe().as_bytes(), &name]);
                Awaited::Unsubscribed(kind, name)
            }
        };
        self.awaited.push_back((awaited, Micros::now()));
    }

    /// Hands on the whole frames at the start of `bytes`, one by one; how many bytes that was.
    fn receive(&mut self, scanner: &mut Scanner, bytes: &[u8]) -> io::Result<usize> {
        self.heard_at = Micros::now();
        let mut used = 0;
        while let Some(length) = scanner.scan(&bytes[used..]).map_err(malformed)? {
            self.frame(&bytes[used..used + length])?;
            used += length;
        }
        if (self.handler)(Event::Batch) == Onward::Pause {
            self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
        }
        Ok(used)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some((word, name)) = head(frame) else {
            return self.answer(frame);
        };
        if let Some(kind) = Kind::of(word, Kind::message) {
            (self.handler)(Event::Message(kind, name, frame));
        } else if let Some(kind) = Kind::of(word, Kind::subscribe) {
            match self.awaited.pop_front() {
                Some((Awaited::Subscribed(of, asked, tag), _)) if of == kind && *asked == *name => {
                    (self.handler)(Event::Confirmed(kind, name, tag));
                }
                _ => return Err(unasked()),
            }
        } else if let Some(kind) = Kind::of(word, Kind::unsubscribe) {
            let ours = match self.awaited.front() {
                Some((Awaited::Unsubscribed(of, asked), _)) => *of == kind && **asked == *name,
                _ => false,
            };
            if ours {
                self.awaited.pop_front();
            } else if self.wanted.contains_key(&(kind, Name::from(name))) {
                // As when a slot moves away from the endpoint.
                self.again.push((kind, Name::from(name)));
                (self.handler)(Event::Dropped(kind, name));
            }
        } else if word == b"pong" {
            return self.answer(frame);
        }
        // Any other push was not asked for, and is nobody's.
        Ok(())
    }

    /// What is no message and no confirmation: the heartbeat's answer, or a refusal.
    fn answer(&mut self, frame: &[u8]) -> io::Result<()> {
        let (awaited, sent_at) = self.awaited.pop_front().ok_or_else(unasked)?;
        match awaited {
            // Whatever the answer, it is a sign of life.
            Awaited::Heartbeat => {
                (self.handler)(Event::Alive { sent_at });
                Ok(())
            }
            Awaited::Subscribed(kind, name, tag) if frame[0] == b'-' => {
                let words = String::from_utf8_lossy(&frame[1..]);
                let onward = (self.handler)(Event::Refused(kind, &name, tag, words.trim_end()));
                let key = (kind, name);
                if self.wanted.get(&key) == Some(&tag) {
                    if onward == Onward::Again {
                        self.again.push(key);
                    } else {
                        self.wanted.remove(&key);
                    }
                }
                Ok(())
            }
            // Messages go on coming that nobody wants; they are nobody's either.
            Awaited::Unsubscribed(..) if frame[0] == b'-' => Ok(()),
            Awaited::Subscribed(..) | Awaited::Unsubscribed(..) => Err(unasked()),
        }
    }
}

fn unasked() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for")
}

fn timer(period: Duration) -> Interval {
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Whether the timer has ticked; registers for the following tick.
fn ticked(timer: &mut Interval, cx: &mut Context<'_>) -> bool {
    let mut ticked = false;
    while timer.poll_tick(cx).is_ready() {
        ticked = true;
    }
    ticked
}

/// The first two elements of a push or an array, where they are strings (no name is an empty one).
fn head(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    if !matches!(frame.first(), Some(b'>' | b'*')) {
        return None;
    }
    let (_, start) = number::length(frame, 1)?;
    let (word, rest) = bulk(frame.get(start..)?)?;
    Some((word, bulk(rest).map_or(&b""[..], |(name, _)| name)))
}

/// A bulk string, and what follows it.
fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first() != Some(&b'$') {
        return None;
    }
    let (length, start) = number::length(bytes, 1)?;
    Some((bytes.get(start..start + length)?, bytes.get(start + length + 2..)?))
}

#[cfg(test)]
mod tests;
