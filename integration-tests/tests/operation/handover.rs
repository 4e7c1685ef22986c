//! One process takes the place of another, and no client is refused, reset or left without a reply.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings, binary_path};
use larder_integration_tests::process::{Process, Signal};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

use crate::drain::ends;

struct Setting {
    redis: Redis,
    scratch: Scratch,
}

impl Setting {
    fn new() -> Self {
        Self { redis: Redis::start(), scratch: Scratch::new("handover") }
    }

    fn path(&self) -> PathBuf {
        self.scratch.file("handover.sock")
    }

    fn socket(&self) -> PathBuf {
        self.scratch.file("larder.sock")
    }

    fn start(&self, drain_timeout: &str) -> Larder {
        let settings = Settings::new(self.redis.address())
            .listener(&format!("{{address: \"unix:{}\"}}", self.socket().display()))
            .section(&format!("handover: \"unix:{}\"", self.path().display()))
            .section(&format!("drain_timeout: {drain_timeout}"))
            .section(&format!(
                "near_cache: {{warm_start: true, snapshot: \"{}\"}}",
                self.scratch.file("snapshot").display()
            ));
        Larder::start_with(&settings)
    }
}

/// Many requests on connections of their own, and many on a few that stay, while one process after another takes over.
#[test]
fn under_load_one_replaces_the_other_again_and_again_and_no_request_fails() {
    const ROUNDS: usize = 4;
    let setting = Setting::new();
    let mut larder = setting.start("2s");
    let (address, over) = (larder.address(), AtomicBool::new(false));
    let (requests, moves) = (AtomicU64::new(0), AtomicU64::new(0));
    let short = |number: usize| {
        let key = format!("short:{number}");
        for count in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let mut client = Client::try_connect(address).expect("never refused");
            let value = count.to_string();
            assert_eq!(client.try_call(&["SET", &key, &value]).expect("never lost"), Reply::ok());
            assert_eq!(client.try_call(&["GET", &key]).expect("never lost"), Reply::bulk(&value));
            requests.fetch_add(1, Ordering::Relaxed);
        }
    };
    let long = |number: usize| {
        let key = format!("long:{number}");
        let (mut client, mut answered) = (Client::connect(address), 0);
        while !over.load(Ordering::Relaxed) {
            if client.has_ended().expect("an orderly end") {
                moves.fetch_add(1, Ordering::Relaxed);
                client = Client::connect(address);
            }
            answered += 1;
            assert_eq!(client.try_call(&["INCR", &key]).expect("never lost"), Reply::Integer(answered));
        }
    };
    std::thread::scope(|scope| {
        // Also when a round fails: nobody works for ever.
        let stop = Stop(&over);
        for number in 0..4 {
            scope.spawn(move || short(number));
            scope.spawn(move || long(number));
        }
        let mut idle = larder.connect();
        assert_eq!(idle.say("PING"), Reply::Simple("PONG".to_owned()));
        for round in 0..ROUNDS {
            let next = larder.successor();
            let output = ends(std::mem::replace(&mut larder, next));
            assert!(output.contains(" 0 were cut off"), "{output}");
            if round == 0 {
                idle.read_end().expect("an idle client is closed in order");
            }
            let before = requests.load(Ordering::Relaxed);
            wait::until("the new one is used", || requests.load(Ordering::Relaxed) > before + 10);
        }
        drop(stop);
    });
    let moves = moves.load(Ordering::Relaxed);
    assert!(moves >= 4 * (ROUNDS as u64 - 1), "{moves}");
    // The last one ends as if it had been the only one.
    larder.process().signal(Signal::Terminate);
    ends(larder);
    assert!(!setting.path().exists() && !setting.socket().exists());
    assert!(setting.scratch.file("snapshot").exists(), "the last one has the snapshot");
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn idle_clients_go_to_the_new_process_first_and_subscribers_last() {
    let setting = Setting::new();
    let old = setting.start("6s");
    let mut idle: Vec<Client> = (0..6).map(|_| old.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.say("PING"), Reply::Simple("PONG".to_owned()));
    }
    let mut subscriber: Client = old.connect();
    subscriber.say("SUBSCRIBE news");
    let _new = old.successor();
    let gone = Mutex::new(Vec::new());
    let see_off = |client: &mut Client, who: &'static str| {
        client.read_end().expect("an orderly end");
        gone.lock().expect("nobody panics with it").push(who);
    };
    std::thread::scope(|scope| {
        for client in &mut idle {
            scope.spawn(|| see_off(client, "idle"));
        }
        scope.spawn(|| see_off(&mut subscriber, "subscriber"));
    });
    assert_eq!(gone.into_inner().expect("nobody panicked").iter().position(|who| *who == "subscriber"), Some(6));
    assert!(ends(old).contains(" 0 were cut off"));
}

#[test]
fn unix_sockets_and_the_admin_page_are_handed_over_too() {
    let setting = Setting::new();
    let old = setting.start("1s");
    let mode = fs::metadata(setting.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert_eq!(old.connect().say("SET k v"), Reply::ok());
    let mut new = old.successor();
    ends(old);
    // Neither the old one's end nor the new one's start has removed the files.
    let mut stream = UnixStream::connect(setting.socket()).expect("the socket's file is there");
    stream.write_all(b"GET k\r\n").expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    assert_eq!(line, "$1\r\n");
    assert_eq!(new.metrics().sum("larder_draining"), 0.0);
    assert!(setting.path().exists());
    assert!(new.process_mut().exit_status().is_none());
}

/// A new process that has been given the sockets and does not serve: its upstream takes the connection and says nothing.
fn waiting(setting: &Setting, old: &Larder) -> (Process, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let config = setting.scratch.file("new.yaml");
    let text = format!(
        "listeners: [{{address: \"{}\"}}, {{address: \"unix:{}\"}}]\nadmin: {{address: \"{}\"}}\nhandover: \"unix:{}\"\n\
         upstreams: {{main: {{kind: redis, endpoints: [\"{}\"], connect_timeout: 10m}}}}\n",
        old.address(),
        setting.socket().display(),
        old.admin(),
        setting.path().display(),
        silent.local_addr().expect("it is bound")
    );
    fs::write(&config, text).expect("the scratch directory is writable");
    let mut command = Command::new(binary_path());
    command.arg("--config").arg(&config).current_dir(setting.scratch.path());
    let new = Process::spawn("larder", command, setting.scratch.file("new.log"));
    wait::until("it has the sockets", || old.process().output().contains("has been given the sockets"));
    (new, silent)
}

#[test]
fn a_new_process_that_dies_before_it_serves_changes_nothing() {
    let setting = Setting::new();
    let old = setting.start("1s");
    let mut client = old.connect();
    assert_eq!(client.say("SET k v"), Reply::ok());
    let (mut new, _silent) = waiting(&setting, &old);
    assert!(new.exit_status().is_none(), "{}", new.output());
    new.kill();
    wait::until("the old one has seen it", || old.process().output().contains("ended before it served"));
    assert_eq!(client.say("GET k"), Reply::bulk("v"));
    for _ in 0..20 {
        assert_eq!(old.say("GET k"), Reply::bulk("v"));
    }
    assert_eq!(old.metrics().sum("larder_draining"), 0.0);
    // And the next one takes over.
    let new = old.successor();
    ends(old);
    assert_eq!(new.say("GET k"), Reply::bulk("v"));
}

/// Killed is not the only way to end: one that ends in order tidies up, and must not tidy away what is still the old one's.
#[test]
fn a_new_process_that_is_told_to_end_before_it_serves_leaves_the_socket_files_alone() {
    let setting = Setting::new();
    let old = setting.start("1s");
    let (mut new, silent) = waiting(&setting, &old);
    // Whoever connects upstream has begun to wait there.
    let _upstream = silent.accept().expect("it connects");
    new.signal(Signal::Terminate);
    wait::until("it has ended", || new.exit_status().is_some());
    assert!(new.output().contains("before anybody was served"), "{}", new.output());
    assert!(setting.socket().exists() && setting.path().exists());
    assert_eq!(old.say("PING"), Reply::Simple("PONG".to_owned()));
    ends({
        let new = old.successor();
        let old = old;
        assert_eq!(new.say("PING"), Reply::Simple("PONG".to_owned()));
        old
    });
}

/// The other way round: whoever starts a new process and ends the old one at once finds the new one where the old one was.
#[test]
fn an_old_process_that_is_told_to_end_before_the_new_one_serves_leaves_it_the_socket_files() {
    let setting = Setting::new();
    let old = setting.start("1s");
    let mut new = UnixStream::connect(setting.path()).expect("it listens");
    new.write_all(b"larder handover 1\n").expect("sent");
    let mut answer = String::new();
    BufReader::new(&new).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"sockets\":[{"), "{answer}");
    old.process().signal(Signal::Terminate);
    ends(old);
    assert!(setting.socket().exists() && setting.path().exists());
    // Had it no successor after all, what is left behind is in nobody's way.
    drop(new);
    let next = setting.start("1s");
    assert_eq!(next.say("PING"), Reply::Simple("PONG".to_owned()));
    ends({
        next.process().signal(Signal::Terminate);
        next
    });
    assert!(!setting.socket().exists() && !setting.path().exists(), "without a successor they go");
}

#[test]
fn a_process_that_speaks_another_protocol_is_told_so_and_changes_nothing() {
    let setting = Setting::new();
    let old = setting.start("1s");
    let mut stream = UnixStream::connect(setting.path()).expect("it listens");
    stream.write_all(b"larder handover 99\n").expect("sent");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"protocol\":1") && answer.contains("\"refused\":"), "{answer}");
    assert_eq!(old.say("PING"), Reply::Simple("PONG".to_owned()));
    assert_eq!(old.metrics().sum("larder_draining"), 0.0);
}

#[test]
fn a_file_left_behind_by_a_process_that_was_killed_is_in_nobodys_way() {
    let setting = Setting::new();
    let mut old = setting.start("1s");
    old.process_mut().kill();
    assert!(setting.path().exists());
    let new = setting.start("1s");
    assert_eq!(new.say("PING"), Reply::Simple("PONG".to_owned()));
}
