//! One traced command: when what happened to it, and the spans that are made of that.
//!
//! ```text
//!   session   from the read of its bytes until its reply is there
//!     route     which row of the command table, which route, which upstream
//!     cache     what the near-cache, or Larder itself, had to say
//!     upstream  from there until the reply came, if one was awaited
//! ```
//!
//! No key, no argument and no value is in them: the name of the command, the pattern of the route, names and addresses of the configuration.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, StringValue};

use super::Tracer;
use crate::clock::Micros;

/// What is noted of a traced command.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Number of the client.
    pub client: u64,
    /// Which database it is in.
    pub database: u32,
    /// When its bytes were read.
    pub read_at: Micros,
    /// When it was its turn.
    pub begun_at: Micros,
    /// When it was known where it belongs.
    pub routed_at: Option<Micros>,
    /// When it was answered, or sent.
    pub served_at: Micros,
    /// When its reply was there.
    pub replied_at: Micros,
    /// Name of the command.
    pub command: String,
    /// Pattern of the route of its first key.
    pub route: String,
    /// Name of the upstream.
    pub upstream: String,
    /// Where its reply came from, in a word.
    pub outcome: &'static str,
    /// Address of the server that its first key belongs to, if a reply was awaited.
    pub server: Option<String>,
    /// Its reply was an error.
    pub failed: bool,
    /// Which of the session's replies it waits for.
    pub waits_for: Option<u64>,
}

impl Tracer {
    /// Makes the spans of a command whose reply is there.
    pub fn emit(&self, trace: Trace) {
        let (now, wall) = (Micros::now(), SystemTime::now());
        let at = |moment: Micros| wall.checked_sub(now.since(moment).duration()).unwrap_or(wall);
        let text = |key: &'static str, value: &str| KeyValue::new(key, StringValue::from(value.to_owned()));
        let number = |key: &'static str, value: u64| KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX));
        let build = |name: String, kind, from: Micros, attributes| {
            SpanBuilder::from_name(name).with_kind(kind).with_start_time(at(from)).with_attributes(attributes)
        };

        // Names of attributes are those of OpenTelemetry's conventions for databases, where there are any.
        let attributes = vec![
            text("db.system.name", "redis"),
            text("db.operation.name", &trace.command),
            text("db.namespace", &trace.database.to_string()),
            number("larder.client", trace.client),
        ];
        let session = build(format!("session {}", trace.command), SpanKind::Server, trace.read_at, attributes);
        let mut session = self.tracer.build_with_context(session, &Context::new());
        if trace.failed {
            session.set_status(Status::error("the reply is an error"));
        }
        let within = Context::new().with_remote_span_context(session.span_context().clone());
        let child = |name: &str, kind, (from, to): (Micros, Micros), attributes| {
            let mut span = self.tracer.build_with_context(build(name.to_owned(), kind, from, attributes), &within);
            span.end_with_timestamp(at(to));
        };
        let routed_at = trace.routed_at.unwrap_or(trace.begun_at);
        let route = vec![text("larder.route", &trace.route), text("larder.upstream", &trace.upstream)];
        child("route", SpanKind::Internal, (trace.begun_at, routed_at), route);
        let cache = vec![text("larder.outcome", trace.outcome)];
        child("cache", SpanKind::Internal, (routed_at, trace.served_at), cache);
        if let Some(server) = &trace.server {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
            let mut attributes = vec![text("db.system.name", "redis"), text("server.address", host)];
            attributes.extend(port.parse().ok().map(|port| number("server.port", port)));
            child("upstream", SpanKind::Client, (trace.served_at, trace.replied_at), attributes);
        }
        // A microsecond at least: the clock has no finer steps, and some collectors drop what has no length.
        let end = trace.replied_at.max(trace.read_at.plus(Micros::of(Duration::from_micros(1))));
        session.end_with_timestamp(at(end));
    }
}
