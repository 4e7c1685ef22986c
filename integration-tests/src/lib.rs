//! The harness of the integration tests: real processes, raw bytes, nothing shared with Larder.
//!
//! Read in this order: a [`scratch`] directory and a [`port`] are what a [`process`] needs; a [`redis`] server, a
//! [`memcached`], a [`twemproxy`] and a [`larder`] are such processes (a [`program`] is one that is
//! given arguments instead of a file); [`replicated`], [`cluster`] and [`sentinel`] are several servers that
//! belong together; a [`client`] talks to either and understands [`reply`] bytes; a
//! [`cutter`] stands between the two and breaks the link, a [`meddler`] changes what
//! the origin says; [`wait`], [`metrics`], [`prometheus`] and [`standing`] observe, and [`steady`] does so while something fails; [`certificates`] are for TLS. On top of these,
//! [`client_script`] runs real client libraries, [`script`] is the list of commands whose replies must equal Redis's, and [`coherence`] the checker of
//! the promises C1 to C8.

pub mod http;

pub mod scratch;

pub mod port;

pub mod process;

pub mod redis;

pub mod memcached;

pub mod twemproxy;

pub mod replicated;

pub mod cluster;

pub mod sentinel;

pub mod larder;

pub mod program;

pub mod client_script;

pub mod reply;

pub mod client;

pub mod cutter;

pub mod meddler;

pub mod wait;

pub mod metrics;

pub mod prometheus;

pub mod standing;

pub mod steady;

pub mod certificates;

pub mod dice;

pub mod script;

pub mod coherence;
