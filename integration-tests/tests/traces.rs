//! Traces: what a collector gets of traced commands, and that nobody else notices.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::port;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Takes what is sent to `POST /v1/traces`.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, bodies }
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.bodies.lock().expect("nobody panics with it");
        bodies.iter().map(|body| ExportTraceServiceRequest::decode(&body[..]).expect("it is OTLP")).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        requests.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }

    /// The spans of every trace, the session's first, then in the order of their beginnings.
    fn traces(&self) -> Vec<Vec<Span>> {
        let spans = self.spans();
        let sessions = spans.iter().filter(|span| span.name.starts_with("session "));
        let within = |session: &Span| {
            let mut trace = vec![session.clone()];
            trace.extend(spans.iter().filter(|span| span.parent_span_id == session.span_id).cloned());
            trace[1..].sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
            trace
        };
        sessions.map(within).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64 << 10]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let length = length.expect("it says how long it is");
            if bytes.len() >= head + length {
                assert!(text.starts_with("post /v1/traces http/1.1\r\n"), "{text}");
                kept.lock().expect("nobody panics with it").push(bytes[head..head + length].to_vec());
                bytes.drain(..head + length);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it listens");
                continue;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn traced(origin: &Redis, collector: SocketAddr, sample: &str) -> Larder {
    let traces = format!("traces: {{endpoint: \"http://{collector}\", sample: {sample}, service_name: shop-cache}}");
    // Batches often, so that nobody waits for them.
    Larder::start_with(&Settings::new(origin.address()).section(&traces).environment("OTEL_BSP_SCHEDULE_DELAY", "50"))
}

#[test]
fn a_trace_follows_a_command_from_the_session_to_the_upstream() {
    let (origin, collector) = (Redis::start(), Collector::start());
    let larder = traced(&origin, collector.address, "100%");
    let mut client = larder.connect();
    client.say("SET secret-key hidden-value");
    larder.warm(&mut client, "GET secret-key");
    client.say("PING");
    client.say("LPUSH secret-key hidden-value");
    client.say("NOSUCHCOMMANDATALL hidden-value");
    client.say("GET secret-key hidden-value");
    let session = |name: &str, outcome: &str| {
        collector.traces().into_iter().find(|trace| {
            let cache = trace.iter().find(|span| span.name == "cache");
            let is = cache.and_then(|span| attribute(&span.attributes, "larder.outcome")).as_deref() == Some(outcome);
            trace[0].name == format!("session {name}") && is
        })
    };
    let expected = [
        ("SET", "pass"),
        ("GET", "miss"),
        ("GET", "hit"),
        ("PING", "local"),
        ("LPUSH", "pass"),
        ("unknown", "pass"),
        ("GET", "refused"),
    ];
    wait::until("the collector has them all", || {
        expected.iter().all(|(name, outcome)| session(name, outcome).is_some())
    });

    // What goes upstream: four spans, one after the other, within the session's.
    for (name, outcome) in [("SET", "pass"), ("GET", "miss")] {
        let trace = session(name, outcome).expect("it is there");
        let names: Vec<_> = trace.iter().map(|span| &*span.name).collect();
        assert_eq!(names, [&*format!("session {name}"), "route", "cache", "upstream"]);
        let (session, route, cache, upstream) = (&trace[0], &trace[1], &trace[2], &trace[3]);
        assert!(session.start_time_unix_nano <= route.start_time_unix_nano);
        assert!(route.end_time_unix_nano <= cache.start_time_unix_nano);
        assert!(cache.end_time_unix_nano <= upstream.start_time_unix_nano);
        assert!(upstream.end_time_unix_nano <= session.end_time_unix_nano);
        assert!(trace.iter().all(|span| span.trace_id == session.trace_id && span.trace_id.len() == 16));
        assert_eq!(attribute(&route.attributes, "larder.upstream").as_deref(), Some("main"));
        assert_eq!(attribute(&route.attributes, "larder.route").as_deref(), Some("*"));
        assert_eq!(attribute(&upstream.attributes, "server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(attribute(&upstream.attributes, "server.port"), Some(origin.address().port().to_string()));
        assert_eq!(session.status.as_ref().map_or(0, |status| status.code), 0);
    }
    let hit = session("GET", "hit").expect("it is there");
    assert!(hit.iter().all(|span| span.name != "upstream"), "a hit asks nobody");
    // An error of the origin, and one of Larder's own.
    for (name, outcome) in [("LPUSH", "pass"), ("GET", "refused")] {
        assert_eq!(
            session(name, outcome).expect("it is there")[0].status.as_ref().map(|status| status.code),
            Some(2),
            "{name}"
        );
    }

    for request in collector.requests() {
        let attributes = &request.resource_spans[0].resource.as_ref().expect("a resource").attributes;
        assert_eq!(attribute(attributes, "service.name").as_deref(), Some("shop-cache"));
        assert!(
            attribute(attributes, "service.version").is_some()
                && attribute(attributes, "service.instance.id").is_some()
        );
    }
    let bodies = collector.bodies.lock().expect("nobody panics with it");
    for word in ["secret-key", "hidden-value", "nosuchcommand"] {
        let holds = |body: &Vec<u8>| body.to_ascii_lowercase().windows(word.len()).any(|part| part == word.as_bytes());
        assert!(!bodies.iter().any(holds), "{word} is in a trace");
    }
}

#[test]
fn replies_are_the_same_with_and_without_traces() {
    let (origin, collector) = (Redis::start(), Collector::start());
    let (with, without) = (traced(&origin, collector.address, "100%"), Larder::start(origin.address()));
    let commands: Vec<String> = (0..500)
        .flat_map(|n| {
            let key = n % 7;
            [
                format!("SET k{key} {n}"),
                format!("GET k{key}"),
                format!("MGET k{key} nothing"),
                format!("INCR n{key}"),
                "PING".to_owned(),
            ]
        })
        .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let mut replies = Vec::new();
    for larder in [&with, &without] {
        origin.say("FLUSHALL");
        let mut client = larder.connect();
        // In pipelines, of which each first command is traced, and one by one.
        let mut all: Vec<Reply> = commands.chunks(13).flat_map(|chunk| client.pipeline(chunk)).collect();
        all.extend(commands[..50].iter().map(|command| client.say(command)));
        all.push(client.say("MULTI"));
        all.extend(client.pipeline(&["INCR a", "GET a", "EXEC"]));
        replies.push(all);
    }
    assert!(replies[0] == replies[1]);
    wait::until("the collector has some", || collector.traces().len() > 100);
}

#[test]
fn a_collector_that_is_not_there_costs_its_traces_and_nothing_else() {
    let origin = Redis::start();
    let larder = traced(&origin, port::free(), "100%");
    let mut client = larder.connect();
    wait::until("batches are lost", || {
        assert_eq!(client.say("SET k v"), Reply::ok());
        assert_eq!(client.say("GET k"), Reply::bulk("v"));
        larder.metrics().sum_where("larder_traces_batches_total", "lost") >= 3.0
    });
    let log = larder.process().output();
    assert_eq!(log.matches("traces are lost").count(), 1, "{log}");
}

#[test]
fn the_share_that_is_traced_can_be_changed_while_it_runs() {
    let (origin, collector) = (Redis::start(), Collector::start());
    let larder = traced(&origin, collector.address, "0%");
    let mut client = larder.connect();
    (0..200).for_each(|_| assert_eq!(client.say("SET k v"), Reply::ok()));
    let text = std::fs::read_to_string(larder.config_file()).expect("it is there");
    larder.rewrite(&text.replace("sample: 0%", "sample: 100%"));
    assert!(larder.reload());
    client.say("GET k");
    wait::until("that one is traced", || collector.traces().iter().any(|trace| trace[0].name == "session GET"));
    assert!(collector.traces().iter().all(|trace| trace[0].name != "session SET"));
}

#[test]
fn a_client_that_tracks_or_subscribes_goes_on_being_traced() {
    let (origin, collector) = (Redis::start(), Collector::start());
    let larder = traced(&origin, collector.address, "100%");
    origin.say("RPUSH l 2 1");
    let mut client = larder.connect();
    client.say("HELLO 3");
    client.say("CLIENT TRACKING ON");
    // A read past the near-cache: its reply is followed by what the client is told of its keys.
    client.say("SORT_RO l");
    client.say("GET k");
    let has = |name: &str| collector.traces().iter().any(|trace| trace[0].name == name);
    wait::until("both are traced", || has("session SORT_RO") && has("session GET"));
    let mut subscriber = larder.connect();
    subscriber.say("HELLO 3");
    subscriber.say("SUBSCRIBE c");
    subscriber.say("ECHO text");
    wait::until("that is traced, too", || has("session ECHO"));
}
