//! Larder: a caching proxy for Redis with a coherent near-cache.
//!
//! # The walk of a request
//!
//! ```text
//!   accept        listener      caps, TLS; hands a client to a worker
//!   session       session       one task per client: read, serve, reply in order
//!   decode        resp          bytes -> command, bounded, incremental; inline commands too
//!   command       command       name -> row of THE table: arity, flags, key positions, cacheable forms
//!   gate          security      who a client is, before anything is looked up for it
//!   route         route         key pattern -> cache policy
//!   near-cache    cache         a fresh reply, a flight to join, a fill to lead, or past the cache
//!   ladder        ladder        which sources may answer now
//!   upstream      upstream      shared lanes for what is forwarded, one tracked connection for what is cached
//!   reply         resp          written for the protocol version that the client speaks
//! ```
//!
//! [`serve`] is that walk as one function. [`coherence`] is where replies and invalidations of the tracked connection
//! are applied to the cache, in the order of the stream; [`invalidation`] is where channels tell of changes where no such connection
//! does; [`pubsub`] is where messages meet their subscribers. [`worker`]
//! and [`app`] put the parts together; [`config`] is plain data and knows none of them.
#![forbid(unsafe_code)]

pub mod config;

pub mod cache;
pub mod coherence;
pub mod command;
pub mod invalidation;
pub mod keyvalue;
pub mod ladder;
pub mod learning;
pub mod listener;
pub mod memory;
pub mod origin;
pub mod pubsub;
pub mod resp;
pub mod route;
pub mod rules;
pub mod security;
pub mod serve;
pub mod session;
pub mod snapshot;
pub mod supervisor;
pub mod topology;
pub mod traces;
pub mod tracking;
pub mod upstream;

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod counters;
pub mod drain;
pub mod events;
pub mod faults;
pub mod glob;
pub mod handover;
pub mod health;
pub mod history;
pub mod inbox;
pub mod inherited;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod operator;
pub mod orders;
pub mod process;
pub mod reload;
pub mod reloads;
pub mod report;
pub mod systemd;
pub mod top;
pub mod worker;
