//! Bounds on what clients may take, and the number of worker threads.

use super::fault::Wrong;
use super::section::Section;
use super::tree::Value;
use super::units;

/// Bounds on clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Most client connections. Default: 10000, as in Redis.
    pub max_clients: usize,
    /// Most connections of one client IP address; 0 for no limit. Default: 0.
    pub max_clients_per_address: usize,
    /// Largest single argument in bytes (proto-max-bulk-len in Redis). Default: 512mb.
    pub max_bulk: u64,
    /// Most arguments of one command. Default: 1048576, as in Redis.
    pub max_args: usize,
    /// Largest whole command in bytes (client-query-buffer-limit in Redis). Default: 1gb, or `max_bulk` where that is more.
    pub max_request: u64,
    /// Most unanswered commands of one client; reading pauses there. Default: 100000.
    pub max_pipeline: usize,
    /// Most bytes of replies that wait for a client which reads none of them for a second; it is closed then, and at
    /// eight times as many in any case. A subscriber for which as many bytes of messages wait is closed at once.
    /// Default: 64mb.
    pub max_output: u64,
    /// Most channels and patterns that one client is subscribed to. Default: 100000.
    pub max_subscriptions: usize,
}

/// How many worker threads serve clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    Auto,
    /// This many, at least 1.
    Fixed(usize),
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_clients: 10_000,
            max_clients_per_address: 0,
            max_bulk: 512 << 20,
            max_args: 1 << 20,
            max_request: 1 << 30,
            max_pipeline: 100_000,
            max_output: 64 << 20,
            max_subscriptions: 100_000,
        }
    }
}

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Limits {
        let default = Limits::default();
        let max_bulk = section.value("max_bulk", default.max_bulk, units::size);
        let limits = Limits {
            max_clients: section.value("max_clients", default.max_clients, units::count),
            max_clients_per_address: section.value(
                "max_clients_per_address",
                default.max_clients_per_address,
                units::count,
            ),
            max_bulk,
            max_args: section.value("max_args", default.max_args, units::count),
            max_request: section.value("max_request", default.max_request.max(max_bulk), units::size),
            max_pipeline: section.value("max_pipeline", default.max_pipeline, units::count),
            max_output: section.value("max_output", default.max_output, units::size),
            max_subscriptions: section.value("max_subscriptions", default.max_subscriptions, units::count),
        };
        section.finish();
        limits
    }
}

/// `auto` or a number of threads.
pub(super) fn workers(value: &Value) -> Result<Workers, Wrong> {
    match value {
        Value::Text(text) if text == "auto" => Ok(Workers::Auto),
        Value::Integer(_) => units::count(value).map(Workers::Fixed),
        other => Err(units::misplaced(other, "auto or a number", "write workers: auto, or a number such as 4")),
    }
}
