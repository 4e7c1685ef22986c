//! `near_cache.warm_start`: a Larder that is started during an outage knows what the one before it knew, and never takes it for fresh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::process::Signal;
use larder_integration_tests::program::{Program, run};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

/// A directory for the snapshot, which outlives the Larders that use it, and a Redis.
struct Setting {
    origin: Redis,
    scratch: Scratch,
}

impl Setting {
    fn new() -> Self {
        Self { origin: Redis::start(), scratch: Scratch::new("snapshot") }
    }

    fn snapshot(&self) -> std::path::PathBuf {
        self.scratch.file("larder.snapshot")
    }

    fn settings(&self, interval: &str) -> Settings {
        Settings::new(self.origin.address()).upstream("connect_timeout: 500ms").section(&format!(
            "near_cache: {{warm_start: true, snapshot: \"{}\", snapshot_interval: {interval}}}",
            self.snapshot().display()
        ))
    }

    /// One that writes its snapshot at the end alone.
    fn larder(&self) -> Larder {
        Larder::start_with(&self.settings("1h"))
    }

    /// A Larder comes to know `GET k`, and ends.
    fn snapshot_of_k(&self) {
        let larder = self.larder();
        let mut client = larder.connect();
        client.say("SET k old");
        larder.warm(&mut client, "GET k");
        end(larder);
    }
}

fn end(mut larder: Larder) {
    larder.process().signal(Signal::Terminate);
    wait::until("the end", || larder.process_mut().exit_status().is_some());
}

/// What EXPLAIN says of the entry of `k`.
fn entry(client: &mut Client) -> String {
    let reply = client.say("LARDER EXPLAIN GET k");
    let lines = reply.items().unwrap_or_else(|| panic!("{reply:?}"));
    let line =
        lines.iter().filter_map(Reply::text).find_map(|line| line.strip_prefix("entry of k: ").map(str::to_owned));
    line.unwrap_or_else(|| panic!("{reply:?}"))
}

#[test]
fn the_snapshot_is_for_its_owners_eyes_and_lies_there_whole() {
    let setting = Setting::new();
    setting.snapshot_of_k();
    let mode = fs::metadata(setting.snapshot()).expect("it was written at SIGTERM").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = fs::read_dir(setting.scratch.path()).expect("a directory").map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["larder.snapshot", "larder.snapshot.lock"]);
}

#[test]
fn one_that_starts_during_an_outage_knows_what_the_one_before_knew() {
    let mut setting = Setting::new();
    setting.snapshot_of_k();
    setting.origin.kill();
    let larder = setting.larder();
    let mut client = larder.connect();
    let told = entry(&mut client);
    assert!(told.starts_with("get in database 0: suspect") && !told.contains("age 0.000s"), "{told}");
    wait::until("the outage is noticed", || {
        client
            .say("LARDER LADDER")
            .items()
            .is_some_and(|lines| lines.iter().filter_map(Reply::text).any(|line| line.contains("rung=local-only")))
    });
    assert_eq!(client.say("GET k"), Reply::bulk("old"));
    assert_eq!(client.say("MGET k k"), Reply::Array(vec![Reply::bulk("old"), Reply::bulk("old")]));
    let missing = client.say("GET never-read");
    assert!(missing.error().is_some_and(|error| error.starts_with("MASTERDOWN")), "{missing:?}");
    assert_eq!(larder.metrics().sum("larder_snapshot_entries"), 1.0);
    assert!(larder.process().output().contains("near-cache: 1 replies from the snapshot"));
    // And hands it on, although it has never met the server.
    drop(client);
    end(larder);
    let larder = setting.larder();
    let mut client = larder.connect();
    assert_eq!(client.say("GET k"), Reply::bulk("old"));
    // Who has tried to write a key is not shown what was there before.
    assert!(client.say("SET k new").error().is_some_and(|error| error.starts_with("READONLY")));
    assert!(client.say("GET k").error().is_some());
    drop(client);
    end(larder);
    assert_eq!(entry(&mut setting.larder().connect()), "none");
}

#[test]
fn the_age_that_is_told_includes_the_time_between_two_processes() {
    let mut setting = Setting::new();
    setting.snapshot_of_k();
    let written = Instant::now();
    setting.origin.kill();
    let settings = setting
        .settings("1h")
        .section("ladders: {default: [{rung: stale-read-only, max_stale: 2s, for: 1h}, {rung: reject}]}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect_with(Protocol::Resp3);
    client.say("LARDER STALENESS ON");
    let mut told = Vec::new();
    wait::until("a stale answer with its age", || {
        client.send(&["GET", "k"]).expect("it is sent");
        let (_, bytes) = client.try_read().expect("an answer");
        told = bytes;
        told.starts_with(b"|2")
    });
    let text = String::from_utf8_lossy(&told).into_owned();
    let age: u128 =
        text.split("age-ms\r\n:").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok()).expect(&text);
    assert!(age >= 100 && age <= written.elapsed().as_millis() + 2000, "{text}");
    assert!(text.ends_with("$3\r\nold\r\n"), "{text}");
    // And it ends the reply's use, as any age does.
    wait::until("it is too old", || client.say("GET k").error().is_some());
    assert!(written.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_cluster_of_which_nobody_answers_has_no_owners_and_its_keys_are_answered_all_the_same() {
    let scratch = Scratch::new("snapshot");
    let cluster = Cluster::start_primaries(3);
    let section = format!(
        "near_cache: {{warm_start: true, snapshot: \"{}\", snapshot_interval: 1h}}",
        scratch.file("larder.snapshot").display()
    );
    let settings = Settings::cluster(&cluster).upstream("connect_timeout: 500ms").section(&section);
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    let keys: Vec<String> = (0..20).map(|n| format!("k:{n}")).collect();
    for key in &keys {
        client.call(&["SET", key, "old"]);
        larder.warm(&mut client, &format!("GET {key}"));
    }
    drop(client);
    end(larder);
    drop(cluster);
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    for key in &keys {
        assert_eq!(client.call(&["GET", key]), Reply::bulk("old"), "{key}");
    }
    // A flush that is refused leaves nothing, wherever the keys belong.
    assert!(client.say("FLUSHALL").error().is_some_and(|error| error.starts_with("READONLY")));
    for key in &keys {
        assert!(client.call(&["GET", key]).error().is_some(), "{key}");
    }
}

#[test]
fn with_the_upstream_there_every_read_asks_it() {
    let setting = Setting::new();
    setting.snapshot_of_k();
    setting.origin.say("SET k new");
    let larder = setting.larder();
    let mut client = larder.connect();
    assert!(entry(&mut client).contains("suspect"));
    assert_eq!(client.say("GET k"), Reply::bulk("new"));
    assert_eq!(larder.hits(), 0.0);
    larder.warm(&mut client, "GET k");
    assert_eq!(client.say("GET k"), Reply::bulk("new"));
    assert!(entry(&mut client).contains("fresh"));
}

#[test]
fn a_flush_and_a_write_void_what_was_loaded() {
    let setting = Setting::new();
    setting.snapshot_of_k();
    let larder = setting.larder();
    let mut client = larder.connect();
    larder.warm(&mut client, "GET another");
    assert!(entry(&mut client).contains("suspect"));
    setting.origin.say("FLUSHALL");
    wait::until("the push has come", || !entry(&mut client).contains("suspect"));
    let told = entry(&mut client);
    assert!(told == "none" || told.contains("void"), "{told}");
    drop(client);
    end(larder);

    setting.snapshot_of_k();
    let larder = setting.larder();
    let mut client = larder.connect();
    client.say("APPEND k er");
    assert_eq!(entry(&mut client), "none");
}

#[test]
fn a_damaged_snapshot_is_one_warning_and_a_cold_start() {
    let setting = Setting::new();
    setting.snapshot_of_k();
    let mut bytes = fs::read(setting.snapshot()).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(setting.snapshot(), bytes).expect("it can be written");
    let larder = setting.larder();
    assert_eq!(entry(&mut larder.connect()), "none");
    let output = larder.process().output();
    let warnings: Vec<&str> = output.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("larder.snapshot is not used"), "{output}");
    assert!(warnings[0].contains("damaged") || warnings[0].contains("cut off"), "{output}");
    assert_eq!(larder.metrics().sum("larder_snapshot_failures_total"), 1.0);
}

#[test]
fn a_snapshot_of_another_server_is_not_used() {
    let mut setting = Setting::new();
    setting.snapshot_of_k();
    setting.origin = Redis::start();
    let larder = setting.larder();
    assert_eq!(entry(&mut larder.connect()), "none");
    assert!(larder.process().output().contains("it belongs to another upstream"), "{}", larder.process().output());
}

#[test]
fn on_the_interval_what_has_changed_is_written_so_that_a_crash_costs_little() {
    let mut setting = Setting::new();
    let mut larder = Larder::start_with(&setting.settings("50ms"));
    let mut client = larder.connect();
    client.say("SET k old");
    larder.warm(&mut client, "GET k");
    wait::until("a snapshot with the reply", || larder.metrics().sum("larder_snapshot_entries") >= 1.0);
    assert!(larder.metrics().sum("larder_snapshot_written_seconds") > 1.7e9);
    larder.process_mut().kill();
    setting.origin.kill();
    let larder = setting.larder();
    assert!(entry(&mut larder.connect()).contains("suspect"));
    // What is written goes out of the next snapshot too.
    drop(larder);
    setting.origin.restart();
    let mut larder = Larder::start_with(&setting.settings("50ms"));
    larder.say("DEL k");
    wait::until("a snapshot without it", || larder.metrics().sum("larder_snapshot_entries") == 0.0);
    larder.process_mut().kill();
    assert_eq!(entry(&mut setting.larder().connect()), "none");
}

#[test]
fn two_larders_do_not_share_a_snapshot() {
    let setting = Setting::new();
    let larder = setting.larder();
    let file = setting.scratch.file("second.yaml");
    let yaml = format!(
        "admin: {{address: \"127.0.0.1:0\"}}\nlisteners:\n  - address: 127.0.0.1:0\nupstreams:\n  main: {{kind: redis, \
         endpoints: [\"{}\"]}}\nnear_cache: {{warm_start: true, snapshot: \"{}\"}}\n",
        setting.origin.address(),
        setting.snapshot().display()
    );
    fs::write(&file, yaml).expect("the scratch directory is writable");
    let second = || {
        // (One that starts all the same ends with the test.)
        let mut program = Program::start(&["--config", &file.display().to_string()]);
        (program.exit_code(), program.output())
    };
    let (code, words) = second();
    assert!(code == Some(1) && words.contains("belongs to another Larder that is running"), "{code:?}: {words}");
    assert_eq!(larder.say("PING"), Reply::Simple("PONG".to_owned()));
    drop(larder);
    // A place where nothing can be written is said with what to do.
    let lock = setting.scratch.file("larder.snapshot.lock");
    fs::remove_file(&lock).expect("it was there");
    fs::create_dir(&lock).expect("a directory in its place");
    let (code, words) = second();
    assert!(code == Some(1) && words.contains("larder.snapshot.lock cannot be created"), "{code:?}: {words}");
    assert!(words.contains("write the path of a file in a directory that Larder may write to"), "{words}");
}

#[test]
fn a_directory_that_is_not_there_is_found_by_check() {
    let setting = Setting::new();
    let file = setting.scratch.file("check.yaml");
    let yaml = "listeners:\n  - address: 127.0.0.1:1\nupstreams:\n  main: {kind: redis, endpoints: [\"127.0.0.1:2\"]}\n\
                near_cache: {warm_start: true, snapshot: /no/such/directory/larder.snapshot}\n";
    fs::write(&file, yaml).expect("the scratch directory is writable");
    let output = run(&["--config", &file.display().to_string(), "--check"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("near_cache.snapshot: /no/such/directory cannot hold the snapshot"), "{words}");
}

#[test]
fn the_end_comes_soon_also_with_much_to_write() {
    let setting = Setting::new();
    let larder = setting.larder();
    let mut client = larder.connect();
    let value = "x".repeat(10_000);
    for n in 0..500 {
        client.call(&["SET", &format!("k:{n}"), &value]);
        client.call(&["GET", &format!("k:{n}")]);
    }
    assert!(larder.metrics().sum("larder_cache_keys") > 400.0);
    let mut larder = larder;
    larder.process().signal(Signal::Terminate);
    wait::until_within(Duration::from_secs(20), "the end", || larder.process_mut().exit_status().is_some());
    assert!(fs::metadata(setting.snapshot()).expect("it was written").len() > 4_000_000);
}
