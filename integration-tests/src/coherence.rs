//! The coherence checker: what many clients read, judged against what was written and when.
//!
//! **Units.** The keys are grouped into [units](mod@unit) of one to three keys. One writer thread owns a unit and has one request (or
//! one pipeline on one connection) for it under way at a time, so the states of a unit form one line in time, which
//! the writer knows: [`history::Write`] after write, each with the moment before it was sent and the moment after
//! its answer was read. Values are version numbers from one counter of the whole run, so a value names its write. A
//! writer changes its way (through Larder A, through B, at the origin) from one write to the next.
//!
//! **What a read may show.** A read that started at `s` and ended at `e` took place in between. Of the unit's states it
//! may show
//! - none from a write that was sent only after `e`;
//! - none older than a write that *binds* it. A write binds every read at the origin, and every read through the proxy
//!   that acknowledged it, when the answer had been read before `s` (C1, C2); other proxies' reads when that was
//!   [`history::FOREIGN_BOUND`] before `s` (C3); and reads that follow it on the same connection, pipelined too (C1);
//! - no value whose expiry was surely over at `s` (C4). A `PX n` that was sent at `s'` and answered at `e'` expires
//!   between `s' + n` and `e' + n`; missing is right from the first moment on, present is wrong from the second;
//! - several keys read by one command only as one single state of the unit had them (C7), and all fields of a
//!   hash that is always written whole with the same version.
//!
//! A read is right when *some* state in that range matches. Every bound is on the side of the proxy: the
//! checker has no false alarm as long as the process's monotonic clock is one clock. What a proxy promises beyond
//! (that reads of one connection never go back in time, say) is not demanded here, since a foreign change may be
//! seen first through a command that is not cached.
//!
//! **FLUSHALL** writes every unit at once: its writer holds a gate that stops all other writers, readers go on.
//!
//! **Lost writes.** A server that is killed may take acknowledged writes with it. The [windows](doubt) in which that may be
//! are the test's to open and close; what was written in one binds no read until the unit has been written anew.
//!
//! **Undeclared keys.** A script that writes keys which it does not declare cannot be known to the proxy that
//! forwards it; only the push tells. Such a write counts as foreign to every proxy.
//!
//! At the end, with the writers at rest, every command form of every key is compared with the origin byte for byte (C8),
//! which also finds an entry that stays stale for good.

pub mod history;

pub mod check;

pub mod unit;

pub mod doubt;

pub mod link;

pub mod writer;

pub mod reader;

pub mod sweep;

pub mod run;
