//! A session: one client, read, served and answered in order by one task of one worker.
//!
//! * [`replies`]: its replies in the order of its commands.
//! * [`receiver`]: what happens when the upstream's reply to one of its commands arrives.
//! * [`gathering`]: a reply that several nodes have a part in.
//! * [`leaving`]: how it ends when the process does.
//! * [`lease`], [`transaction`]: connections that it has to itself, and what for.
//! * [`subscriptions`]: what it is subscribed to, and the messages that come of it.
//! * [`clients`]: what the process knows of all clients (CLIENT LIST).
//! * [`local`]: the commands that Larder answers itself.

pub mod clients;
pub mod gathering;
mod handed;
pub mod lease;
pub mod leaving;
pub mod local;
pub mod receiver;
pub mod replies;
mod state;
pub mod subscriptions;
mod traced;
pub mod transaction;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::Micros;
use crate::logs::sample;
use crate::net::Stream;
use crate::resp::decode::Decoder;
use crate::resp::{Proto, encode};
use crate::serve::{Flow, serve};

use crate::worker::Worker;
use clients::Client;
pub use replies::write_resp3;
use state::ALLOWANCE;
pub use state::{Ending, NO_SLOT, ReplyMode, Staleness, State};

/// One client.
#[derive(Debug)]
pub struct Session {
    /// Its number, never used again (CLIENT ID).
    pub id: u64,
    /// The worker it lives on.
    pub worker: Rc<Worker>,
    /// What others may know of it.
    pub client: Arc<Client>,
    /// Everything that changes.
    pub state: RefCell<State>,
}

/// The socket's side of a session.
struct Io {
    stream: Stream,
    /// Bytes read and not yet served.
    input: Vec<u8>,
    /// How far `input` has been served.
    served: usize,
    decoder: Decoder,
    end_of_input: bool,
}

/// Ticks (of 50 ms) for which a client may take nothing while more than `limits.max_output` waits for it. One that
/// reads is not closed: its replies may be large, and all of a pipeline's may arrive at once.
const PATIENCE: u32 = 20;
/// Times `limits.max_output` at which it is closed though it reads.
const BACKLOG: u64 = 8;
/// How long a client may take to see that its session has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much of what a blocked client sends is taken before it is served.
const READ_AHEAD: usize = 1 << 20;
/// Batches in a row before other sessions get their turn.
const TURNS: usize = 4;

/// Serves one client until it leaves or is made to.
pub async fn run(worker: Rc<Worker>, stream: Stream, client: Arc<Client>) {
    let state = RefCell::new(State::new(worker.app.home_database()));
    let session = Rc::new(Session { id: client.id, client, state, worker: Rc::clone(&worker) });
    worker.enter(&session);
    let mut io = Io { stream, input: Vec::new(), served: 0, decoder: Decoder::default(), end_of_input: false };
    let end = poll_fn(|cx| session.poll(cx, &mut io)).await;
    if let Err(error) = end
        && error.kind() == io::ErrorKind::QuotaExceeded
    {
        worker.counters.clients_closed_by_limit.add(1);
        if sample::OVERFULL.admits() {
            tracing::warn!(client = session.id, "client closed: {error}");
        }
    }
    let lingers;
    {
        let mut state = session.state.borrow_mut();
        session.note_end(&state);
        lingers = state.ending == Ending::AfterReplies && !io.end_of_input;
        state.ending = Ending::Now;
        state.replies.abandon();
        state.drop_subscriptions(&session);
        state.lanes.clear();
        state.leave_leases();
        state.waker = None;
        session.want_no_lease(&mut state);
        session.stop_tracking(&mut state);
    }
    worker.leave(&session);
    let farewell = async {
        // A polite end for TLS; a plain socket's end is the drop.
        let _ = poll_fn(|cx| Pin::new(&mut io.stream).poll_shutdown(cx)).await;
        if lingers {
            // A socket that is dropped with bytes unread resets the connection, and the last replies (to QUIT, or what
            // was wrong) are lost on their way. So what the client still sends is taken until it has seen the end.
            while poll_fn(|cx| discard(cx, &worker, &mut io.stream)).await {}
        }
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Reads once and drops what came; whether there may be more.
fn discard(cx: &mut Context<'_>, worker: &Worker, stream: &mut Stream) -> Poll<bool> {
    let mut scratch = worker.scratch.borrow_mut();
    let mut buffer = ReadBuf::new(&mut scratch);
    let read = ready!(Pin::new(stream).poll_read(cx, &mut buffer));
    Poll::Ready(read.is_ok() && !buffer.filled().is_empty())
}

// === impl Session ===

impl Session {
    /// `count` replies for slot `seq` are written by `write`, in the protocol version it is told.
    pub fn deliver(&self, seq: u64, count: u32, write: impl FnOnce(&mut Vec<u8>, Proto)) {
        let mut state = self.state.borrow_mut();
        if state.ending >= Ending::Now {
            return;
        }
        if state.replies.waiting() as u64 > self.worker.rules().config.limits.max_output.saturating_mul(BACKLOG) {
            state.end(Ending::Overfull);
            return;
        }
        let Some(proto) = state.replies.proto(seq) else { return };
        if state.replies.bare() {
            state.replies.adopt(self.worker.lend_buffer());
        }
        let after = state.tracking.as_mut().and_then(|tracking| tracking.take_after(seq));
        if let Some(after) = after {
            let mut reply = Vec::new();
            write(&mut reply, proto);
            self.arrive(&mut state, (seq, count, proto), |out, _| out.extend_from_slice(&reply));
            self.tell_after(&after, &reply);
        } else {
            self.arrive(&mut state, (seq, count, proto), write);
        }
        state.wake();
    }

    fn arrive(&self, state: &mut State, place: (u64, u32, Proto), write: impl FnOnce(&mut Vec<u8>, Proto)) {
        let (seq, count, proto) = place;
        if state.trace.is_some() {
            self.arrive_traced(state, place, write);
        } else {
            state.replies.arrive(seq, count, |out| write(out, proto));
        }
    }

    /// CLIENT TRACKING is off from here on.
    pub fn stop_tracking(&self, state: &mut State) {
        if state.tracking.take().is_some() {
            self.worker.app.register.leave(self.id);
        }
    }

    /// Commands on a lane have their answer (or never will).
    pub fn lane_done(&self, count: u32, opaque: u32) {
        let mut state = self.state.borrow_mut();
        state.lane_owed = state.lane_owed.saturating_sub(count);
        state.opaque_owed = state.opaque_owed.saturating_sub(opaque);
    }

    /// Has another look at what it waits for.
    pub fn wake_soon(&self) {
        // If it is being served this moment, its next tick will do.
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.wake();
        }
    }

    /// Looks after the session a few times a second: a client that takes nothing gets a growing allowance, and at the
    /// limit it is closed. (Its commands would wait for ever otherwise: many clients send a whole pipeline before
    /// they read.)
    pub fn tick(&self) {
        let mut state = self.state.borrow_mut();
        let limit = self.worker.rules().config.limits.max_output;
        let unread = state.replies.unsent() as u64 > limit && !std::mem::take(&mut state.took);
        state.unread_for = if unread { state.unread_for + 1 } else { 0 };
        if state.unread_for >= PATIENCE {
            state.end(Ending::Overfull);
        } else if state.starved {
            let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
            state.output_allowance = state.output_allowance.saturating_mul(2).min(most.max(ALLOWANCE));
            state.wake();
        } else if state.stalled || state.sated {
            state.wake();
        }
    }

    fn poll(self: &Rc<Self>, cx: &mut Context<'_>, io: &mut Io) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        for turn in 0.. {
            // Anew for each batch: what is served by an old clock may have expired meanwhile.
            state.now = Micros::now();
            state.starved = false;
            self.serve_input(&mut state, io);
            if self.may_leave(&mut state, io) && self.read(cx, &mut state, io)?.is_pending() {
                io.stream.hold_back();
                (state.left, state.ending) = (true, Ending::AfterReplies);
            }
            let all_sent = match self.send(cx, &mut state, io) {
                Ok(all_sent) => all_sent,
                Err(error) => return Poll::Ready(Err(error)),
            };
            match state.ending {
                Ending::Open | Ending::AfterReplies => {}
                Ending::Now => return Poll::Ready(Ok(())),
                Ending::Overfull => {
                    let text = "more replies than limits.max_output were left unread";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, text)));
                }
            }
            // After the end of input, what came whole is still answered.
            let ending = state.ending == Ending::AfterReplies || io.end_of_input;
            let finished = state.ending == Ending::AfterReplies || io.end_of_input && !self.must_wait(&mut state);
            if finished && all_sent && state.replies.complete() && !state.busy {
                return Poll::Ready(Ok(()));
            }
            // The socket took everything meanwhile: on with what waited.
            let goes_on = all_sent && state.starved;
            if goes_on {
                state.output_allowance = ALLOWANCE;
            } else if ending || self.must_wait(&mut state) {
                state.waker = Some(cx.waker().clone());
                // A client that leaves while it is blocked frees its connection at once.
                if !ending && state.blocked.is_some() && self.read_ahead(cx, &mut state, io)? {
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            }
            if turn >= TURNS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if goes_on {
                continue;
            }
            match self.read(cx, &mut state, io) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    state.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }

    /// Whether commands must not be served now, though there may be some.
    fn must_wait(&self, state: &mut State) -> bool {
        if state.replies.unsent() >= state.output_allowance {
            state.starved = true;
        }
        state.stalled
            || state.busy
            || state.blocked.is_some()
            || state.starved
            || state.replies.held() >= ALLOWANCE
            || state.replies.owed() >= self.worker.rules().config.limits.max_pipeline
    }

    /// Serves the commands that lie in the session's own buffer.
    fn serve_input(self: &Rc<Self>, state: &mut State, io: &mut Io) {
        state.stalled = false;
        if io.served == io.input.len() {
            return;
        }
        let Io { input, served, decoder, .. } = io;
        *served += self.serve_bytes(state, decoder, &input[*served..]);
        if *served == input.len() {
            *input = Vec::new();
            *served = 0;
            decoder.release();
        }
    }

    /// Serves the whole commands at the start of `bytes`, as far as they may be served now; how many bytes that was.
    fn serve_bytes(self: &Rc<Self>, state: &mut State, decoder: &mut Decoder, bytes: &[u8]) -> usize {
        let limits = self.worker.decode_limits();
        let mut traced = self.worker.chooses_to_trace() && !state.awaits_traced();
        let mut at = 0;
        while at < bytes.len() && state.ending == Ending::Open && !self.must_wait(state) {
            match decoder.decode(&bytes[at..], &limits) {
                Ok(Some(length)) => {
                    if let Some(command) = decoder.command(&bytes[at..]) {
                        if state.reply_mode == ReplyMode::SkipNext {
                            state.set_reply_mode(ReplyMode::Skip);
                        }
                        let served = match std::mem::take(&mut traced) {
                            false => serve(self, state, &command),
                            true => self.serve_traced(state, &command),
                        };
                        match served {
                            Flow::Next => self.want_no_lease(state),
                            Flow::Stall => {
                                state.stalled = true;
                                // It will be counted when it is served.
                                self.worker.counters.commands.sub(1);
                                if state.reply_mode == ReplyMode::Skip {
                                    state.set_reply_mode(ReplyMode::SkipNext);
                                    state.replies.mute(false);
                                }
                                return at;
                            }
                        }
                        if state.reply_mode == ReplyMode::Skip {
                            state.set_reply_mode(ReplyMode::On);
                        }
                        if at + length == bytes.len()
                            && let Ok(spec) = self.worker.table.borrow().lookup(&command)
                        {
                            self.client.note_command(&spec.name, state.now);
                        }
                    }
                    at += length;
                }
                Ok(None) => return at,
                Err(fault) => {
                    encode::error(state.replies.now(), &format!("ERR {fault}"));
                    state.ending = state.ending.max(Ending::AfterReplies);
                    return bytes.len();
                }
            }
        }
        if state.ending > Ending::Open {
            // What comes after QUIT, or after bytes that are no command, is never carried out.
            return bytes.len();
        }
        at
    }

    /// Reads once. What can be served is served from the worker's buffer; only a rest is kept.
    fn read(self: &Rc<Self>, cx: &mut Context<'_>, state: &mut State, io: &mut Io) -> Poll<io::Result<()>> {
        io.input.drain(..io.served);
        io.served = 0;
        let wanted = io.decoder.wanted().saturating_sub(io.input.len());
        let scratch = Rc::clone(&self.worker.scratch);
        let mut scratch = scratch.borrow_mut();
        if wanted < scratch.len() {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut io.stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            self.note_read(io, bytes.len());
            if io.input.is_empty() {
                if state.replies.bare() {
                    state.replies.adopt(self.worker.lend_buffer());
                }
                let served = self.serve_bytes(state, &mut io.decoder, bytes);
                io.input.extend_from_slice(&bytes[served..]);
            } else {
                // Behind the first part of a command, to be served with it.
                io.input.extend_from_slice(bytes);
            }
            return Poll::Ready(Ok(()));
        }
        drop(scratch);
        // The rest of a long command: straight behind what is there. Room for what was announced is made as it
        // arrives: an announcement alone costs no memory.
        let start = io.input.len();
        io.input.resize(start + wanted.min(256 << 10), 0);
        let mut buffer = ReadBuf::new(&mut io.input[start..]);
        let polled = Pin::new(&mut io.stream).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        io.input.truncate(start + read);
        ready!(polled)?;
        self.note_read(io, read);
        Poll::Ready(Ok(()))
    }

    /// Reads what a blocked client sends, to be served later; whether it has gone.
    fn read_ahead(&self, cx: &mut Context<'_>, state: &mut State, io: &mut Io) -> io::Result<bool> {
        state.sated = false;
        while io.input.len() - io.served < READ_AHEAD {
            let mut scratch = self.worker.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut io.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(false),
                Poll::Ready(read) => read?,
            }
            if buffer.filled().is_empty() {
                return Ok(true);
            }
            io.input.extend_from_slice(buffer.filled());
            self.worker.counters.input_bytes.add(buffer.filled().len() as u64);
        }
        // Nothing wakes a reader that does not read: from here on the end is looked for at each tick.
        state.sated = true;
        Ok(io.stream.peer_has_closed())
    }

    fn note_read(&self, io: &mut Io, count: usize) {
        io.end_of_input = count == 0;
        self.worker.counters.input_bytes.add(count as u64);
    }

    /// Writes what the socket takes. Whether that was all.
    fn send(&self, cx: &mut Context<'_>, state: &mut State, io: &mut Io) -> io::Result<bool> {
        while state.replies.unsent() > 0 {
            match Pin::new(&mut io.stream).poll_write(cx, state.replies.to_send()) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.worker.counters.output_bytes.add(count as u64);
                    state.output_allowance = ALLOWANCE;
                    state.took = true;
                    if let Some(buffer) = state.replies.mark_sent(count) {
                        self.worker.return_buffer(buffer);
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if matches!(io.stream, Stream::Tls(_)) {
            return match Pin::new(&mut io.stream).poll_flush(cx) {
                Poll::Ready(done) => done.map(|()| true),
                Poll::Pending => Ok(false),
            };
        }
        Ok(true)
    }
}
