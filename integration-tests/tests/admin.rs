//! The admin address: what it shows, what it does, and whom it refuses.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use larder_integration_tests::client_script;
use larder_integration_tests::http::{Answer, look, post};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::port;
use larder_integration_tests::process::Signal;
use larder_integration_tests::program::{Program, run};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

fn purge(larder: &Larder, body: &str) -> Answer {
    post(larder.admin(), "/purge", &[], body)
}

fn hits(larder: &Larder, words: &str) -> bool {
    let before = larder.hits();
    larder.say(words);
    larder.hits() > before
}

#[test]
fn what_is_shown_is_right_by_strict_readers_and_equals_what_larder_says() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    client_script::run_with("admin_pages.py", larder.address(), &[larder.admin().to_string()]);
}

#[test]
fn the_shown_configuration_is_a_file_that_check_accepts_and_hides_secrets() {
    let origin = Redis::start();
    let larder = Larder::start_with(
        &Settings::new(origin.address())
            .beside("other: {kind: redis, endpoints: [127.0.0.1:1], username: u, password: hunter2}")
            .section("routes: [{keys: [\"*\"], upstream: main}, {keys: [\"o:*\"], upstream: other, cache: {ttl: 7s}}]"),
    );
    let shown = look(larder.admin(), "/config", &[]);
    assert_eq!(shown.status, 200);
    assert!(shown.head.contains("content-type: application/yaml"), "{}", shown.head);
    assert!(!shown.body.contains("hunter2") && shown.body.contains("password: \"***\""), "{}", shown.body);
    assert!(shown.body.contains("ttl: 7s") && shown.body.contains("max_clients: 10000"), "{}", shown.body);
    let scratch = Scratch::new("shown");
    let file = scratch.file("shown.yaml");
    fs::write(&file, &shown.body).expect("the scratch directory is writable");
    let checked = run(&["--config", &file.display().to_string(), "--check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn keys_prefixes_and_everything_can_be_purged() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    let all = ["user:1", "user:2", "user:3", "other"];
    let warm = |client: &mut _| all.iter().for_each(|key| larder.warm(client, &format!("GET {key}")));
    warm(&mut client);
    assert_eq!(purge(&larder, r#"{"key": "user:1"}"#).body, "{\"purged\":1}\n");
    assert_eq!(purge(&larder, r#"{"key": "user:1"}"#).body, "{\"purged\":0}\n");
    assert!(!hits(&larder, "GET user:1") && hits(&larder, "GET user:2"));
    warm(&mut client);
    assert_eq!(purge(&larder, r#"{"keys": ["user:2", "none", "other"], "upstream": "main"}"#).body, "{\"purged\":2}\n");
    warm(&mut client);
    assert_eq!(purge(&larder, r#"{"prefix": "user:"}"#).body, "{\"purged\":3}\n");
    assert!(hits(&larder, "GET other") && !hits(&larder, "GET user:2"));
    warm(&mut client);
    assert_eq!(purge(&larder, r#"{"all": true}"#).body, "{\"purged\":4}\n");
    assert!(!hits(&larder, "GET other"));
    let unknown = purge(&larder, r#"{"prefix": "a", "upstream": "mian"}"#);
    assert!(
        unknown.status == 400 && unknown.body.contains("there is no upstream 'mian' with servers, but main"),
        "{unknown:?}"
    );
}

/// A reply that was on its way when its key was purged must not be what is cached afterwards.
#[test]
fn a_fill_under_way_is_not_stored_after_a_purge() {
    for body in [r#"{"key": "k"}"#, r#"{"prefix": "k"}"#, r#"{"all": true}"#] {
        let origin = Redis::start();
        let larder =
            Larder::start_with(&Settings::new(origin.address()).upstream("heartbeat: {interval: 20s, timeout: 30s}"));
        let mut client = larder.connect();
        client.say("SET k v");
        larder.warm(&mut client, "GET warm");
        let (misses, fills) = (larder.misses(), larder.metrics().sum("larder_cache_fills_total"));
        origin.process().signal(Signal::Stop);
        client.send(&["GET", "k"]).expect("it is sent");
        wait::until("the read is under way", || larder.misses() > misses);
        assert_eq!(purge(&larder, body).status, 200);
        origin.process().signal(Signal::Continue);
        assert_eq!(client.read(), Reply::bulk("v"));
        assert_eq!(larder.metrics().sum("larder_cache_fills_total"), fills, "{body}");
        assert!(!hits(&larder, "GET k"), "{body}");
    }
}

#[test]
fn rungs_can_be_forced_and_left_to_health_again() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    larder.until_normal();
    let ladder = |body: &str| post(larder.admin(), "/ladder", &[], body);
    let set = ladder(r#"{"upstream": "main", "rung": "reject"}"#);
    assert_eq!((set.status, &*set.body), (200, "{\"upstream\":\"main\",\"rung\":\"reject\",\"for\":null}\n"));
    assert!(larder.say("GET k").error().is_some());
    let state = look(larder.admin(), "/state", &[]).body;
    assert!(state.contains(r#""rung":"reject""#) && state.contains("upstream 'main': rung reject forced"), "{state}");
    let ready = look(larder.admin(), "/readyz", &[]);
    assert!(ready.status == 200 && ready.body.contains(r#""effect":"degraded","text":"upstream 'main'"#), "{ready:?}");
    assert_eq!(ladder(r#"{"upstream": "main", "rung": "auto"}"#).status, 200);
    assert_eq!(larder.say("GET k"), Reply::Null);
    assert_eq!(ladder(r#"{"upstream": "main", "rung": "local-only", "for": "100ms"}"#).status, 200);
    larder.until_normal();
    for wrong in [
        r#"{"upstream": "main", "rung": "top"}"#,
        r#"{"upstream": "x", "rung": "reject"}"#,
        r#"{"upstream": "main", "rung": "reject", "for": "soon"}"#,
        r#"{"upstream": "main", "rung": "auto", "for": "3s"}"#,
        r#"{"upstream": "main"}"#,
    ] {
        let refused = ladder(wrong);
        assert!(refused.status == 400 && refused.body.contains("\"remedy\""), "{wrong}: {refused:?}");
    }
}

#[test]
fn a_dead_upstream_is_a_reason_and_does_not_make_it_unready() {
    let mut origin = Redis::start();
    let larder = Larder::start(origin.address());
    let ready = || look(larder.admin(), "/readyz", &[]);
    wait::until("it is ready without a word", || {
        let ready = ready();
        ready.status == 200 && ready.body == "{\"ready\":true,\"stage\":\"serving\",\"reasons\":[]}\n"
    });
    origin.kill();
    wait::until("the outage is a reason", || ready().body.contains("rung local-only for"));
    wait::until("and that nothing is covered", || ready().body.contains("not covered, hence not fresh"));
    assert_eq!(ready().status, 200);
    let state = look(larder.admin(), "/state", &[]).body;
    assert!(state.contains("normal -> local-only") && state.contains("tracked connection to"), "{state}");
}

#[test]
fn post_drain_ends_the_process_as_sigterm_does() {
    let origin = Redis::start();
    let mut larder = Larder::start(origin.address());
    let answer = post(larder.admin(), "/drain", &[], "");
    assert_eq!((answer.status, &*answer.body), (202, "{\"draining\":true}\n"));
    let mut status = None;
    wait::until("the end", || {
        status = larder.process_mut().exit_status();
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(larder.process().output().contains("POST /drain"));
}

#[test]
fn with_a_token_nothing_but_health_and_the_bare_page_is_shown_without_it() {
    let origin = Redis::start();
    let scratch = Scratch::new("token");
    let file = scratch.file("token");
    fs::write(&file, "correct-horse\n").expect("the scratch directory is writable");
    let (address, admin) = (port::free(), port::free());
    let config = scratch.file("larder.yaml");
    let yaml = format!(
        "listeners: [{{address: {address}}}]\nupstreams: {{main: {{kind: redis, endpoints: [\"{}\"]}}}}\nadmin: {{address: \"{admin}\", \
         token_file: {}}}\n",
        origin.address(),
        file.display()
    );
    fs::write(&config, yaml).expect("the scratch directory is writable");
    let _larder = Program::start(&["--config", &config.display().to_string()]);
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(look(admin, path, &[]).status, 200, "{path}");
    }
    for path in ["/metrics", "/config", "/state", "/nothing"] {
        let refused = look(admin, path, &["Authorization: Bearer wrong"]);
        assert_eq!(refused.status, 401, "{path}");
        assert!(
            refused.head.contains("www-authenticate: bearer") && refused.body.contains("\"remedy\""),
            "{refused:?}"
        );
        assert!(!refused.body.contains("horse"));
        let right = look(admin, path, &["Authorization: Bearer correct-horse"]);
        assert_eq!(right.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        assert!(!right.body.contains("correct-horse"), "{path}");
    }
    assert_eq!(post(admin, "/drain", &[], "").status, 401);
    assert_eq!(post(admin, "/purge", &["Authorization: Bearer correct-horse"], r#"{"all": true}"#).status, 200);
}

#[test]
fn post_reload_answers_with_what_changed_or_with_every_error() {
    let (scratch, address, admin) = (Scratch::new("reload"), port::free(), port::free());
    let config = scratch.file("larder.yaml");
    let write = |token: &str, more: &str| {
        let yaml = format!(
            "reload_on_change: false\nlisteners: [{{address: {address}}}]\nupstreams: {{main: {{kind: memory}}}}\n\
             admin: {{address: \"{admin}\", token: {token}}}\n{more}\n"
        );
        fs::write(&config, yaml).expect("the scratch directory is writable");
    };
    write("first", "near_cache: {ttl: 5m}");
    let _larder = Program::start(&["--config", &config.display().to_string()]);
    let reload = |token: &str| post(admin, "/reload", &[&format!("Authorization: Bearer {token}")], "");
    write("second", "near_cache: {ttl: 1m}\nworkers: 7");
    let done = reload("first");
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("near_cache.ttl: 5m -> 1m") && done.body.contains("admin.token: changed (not shown)"));
    assert!(done.body.contains(r#""needs_restart":["workers: "#), "{done:?}");
    assert!(!done.body.contains("second"), "{done:?}");
    assert_eq!(reload("first").status, 401, "the new token holds at once");
    let shown = look(admin, "/config", &["Authorization: Bearer second"]).body;
    assert!(shown.contains("ttl: 1m"), "{shown}");
    write("third", "near_cache: {ttl: soon, max_memory: much}");
    let refused = reload("second");
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("near_cache.ttl") && refused.body.contains("near_cache.max_memory"), "{refused:?}");
    assert_eq!(look(admin, "/state", &["Authorization: Bearer second"]).status, 200, "nothing has changed");
}

#[test]
fn web_pages_of_others_are_refused() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let admin = larder.admin();
    let force = r#"{"upstream": "main", "rung": "reject"}"#;
    let by_page = post(admin, "/ladder", &["Origin: http://evil.example"], force);
    assert!(by_page.status == 403 && by_page.body.contains("evil.example"), "{by_page:?}");
    let rebound = post(admin, "/ladder", &["Host: evil.example:9180", "Origin: http://evil.example:9180"], force);
    assert!(rebound.status == 403 && rebound.body.contains("no token is configured"), "{rebound:?}");
    assert_eq!(look(admin, "/state", &["Host: evil.example"]).status, 403);
    assert_eq!(look(admin, "/metrics", &["Host: larder:9180"]).status, 200);
    assert_eq!(larder.say("GET k"), Reply::Null, "no rung was forced");
    assert_eq!(post(admin, "/ladder", &[&format!("Origin: http://{admin}")], force).status, 200);
}

/// Connections that send nothing, or a part of a head, keep nobody out: those that have been silent for the longest time make room.
#[test]
fn slow_and_many_http_clients_do_not_keep_others_out() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let open = || TcpStream::connect(larder.admin()).expect("the system queues it");
    let mut idle: Vec<TcpStream> = (0..200).map(|_| open()).collect();
    idle.iter_mut().for_each(|stream| _ = stream.write_all(b"GET /livez HT"));
    let files = || fs::read_dir(format!("/proc/{}/fd", larder.process().id())).map_or(0, Iterator::count);
    assert!(files() < 150, "{} files are open", files());
    assert_eq!(look(larder.admin(), "/livez", &[]).status, 200);
    // Not because all of them were closed when their heads had not come.
    idle.iter_mut().for_each(|stream| stream.set_nonblocking(true).expect("a socket"));
    let waits =
        |stream: &mut TcpStream| stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let (first, last) = idle.split_at_mut(100);
    assert!(!first.iter_mut().any(waits), "who came first has made room");
    assert!(last.iter_mut().any(waits), "who came last is still there");
    assert_eq!(larder.say("PING"), Reply::Simple("PONG".into()));
}

/// The lines of docs/admin.md, as a person types them. What they print has the same keys, and the same values where those do not depend on
/// what is cached and configured.
#[test]
fn the_orders_of_the_documentation_are_carried_out_and_answered_as_it_says() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admin.md")).expect("docs/admin.md");
    let mut lines = text.lines();
    let mut followed = 0;
    while let Some(line) = lines.by_ref().find_map(|line| line.strip_prefix("$ ")) {
        let line = line.replace("localhost:9180", &larder.admin().to_string()).replacen("curl", "curl --silent", 1);
        let output = Command::new("sh").args(["-c", &line]).output().expect("there is a shell");
        let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
        let (printed, shown) = (read(&output.stdout), read(lines.next().expect("what it prints").as_bytes()));
        let keys =
            |value: &serde_json::Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(&printed), keys(&shown), "{line}: {printed}");
        if line.contains("/ladder") || line.contains("/log") {
            assert_eq!(printed, shown, "{line}");
        }
        followed += 1;
    }
    assert!(followed >= 5, "{followed} lines");
}

/// Nobody is held up by somebody who asks for much and does not read it.
#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let admin: SocketAddr = larder.admin();
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).expect("it listens");
            let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n").repeat(400);
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    let asked = thread::spawn(move || look(admin, "/livez", &[]).status);
    assert_eq!(asked.join().expect("it does not panic"), 200);
    drop(silent);
}

#[test]
fn the_levels_of_the_log_can_be_changed_for_a_while() {
    let larder = Larder::start_with(&Settings::memory().section("log: {level: off}"));
    let set = |body: &str| post(larder.admin(), "/log", &[], body);
    // Whether a purge leaves a line.
    let is_told = || {
        let lines = || larder.process().output().matches("POST /purge").count();
        let before = lines();
        assert_eq!(purge(&larder, r#"{"all": true}"#).status, 200);
        lines() > before
    };
    assert!(!is_told());
    assert_eq!(set(r#"{"level": "info"}"#).body, "{\"level\":\"info\",\"for\":null}\n");
    assert!(is_told());
    // For a time; then as configured.
    assert_eq!(set(r#"{"level": "info", "for": "300ms"}"#).status, 200);
    wait::until("the configured level holds again", || !is_told());
    for wrong in [r#"{"level": "inof"}"#, r#"{"level": "info", "for": "5"}"#, r#"{"for": "5m"}"#, "{}"] {
        let refused = set(wrong);
        assert!(refused.status == 400 && refused.body.contains("remedy"), "{wrong}: {refused:?}");
    }
}
