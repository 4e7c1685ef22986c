//! The command line: what is served without a file and with one, what is said at the start, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use larder_integration_tests::metrics::http;
use larder_integration_tests::port;
use larder_integration_tests::program::{Program, run};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;

/// From SIGTERM to the end, without clients or with a short drain_timeout.
const FAREWELL: Duration = Duration::from_secs(10);

/// A port of the system's choice for the clients, and one for the admin page, so that tests do not meet on 9180.
const ANYWHERE: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

fn anywhere<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ANYWHERE, more].concat()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One command over a Unix socket; the bytes of the reply's first line.
fn over_socket(path: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens on the socket");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout over zero is accepted");
    stream.write_all(command.as_bytes()).expect("the command is taken");
    let mut byte = [0];
    let mut line = String::new();
    while !line.ends_with("\r\n") && stream.read(&mut byte).expect("an answer") == 1 {
        line.push(char::from(byte[0]));
    }
    line
}

// === what is served ===

#[test]
fn without_arguments_it_listens_on_6380_and_keeps_the_data_itself() {
    // The port is a promise of the documentation, and may be somebody else's on this machine.
    if TcpListener::bind("127.0.0.1:6380").is_err() {
        eprintln!("not tested: somebody listens on 127.0.0.1:6380");
        return;
    }
    let mut larder = Program::start(&[]);
    assert_eq!(larder.banner("listening"), "127.0.0.1:6380");
    assert!(larder.banner("upstream").starts_with("memory"), "{}", larder.output());
    assert_eq!(larder.banner("config"), "embedded default");
    let admin = larder.banner("admin");
    assert!(admin == "http://127.0.0.1:9180" || admin == "none", "{admin}");
    let mut client = larder.connect();
    assert_eq!(client.say("SET greeting hello"), Reply::ok());
    assert_eq!(client.say("GET greeting"), Reply::bulk("hello"));
    drop(client);
    assert_eq!(larder.terminate(FAREWELL), 0);
}

#[test]
fn the_banner_says_where_everything_is() {
    let larder = Program::start(&ANYWHERE);
    let output = larder.output();
    assert!(
        output.contains(&format!("larder {}\n", env!("CARGO_PKG_VERSION"))) || output.contains("larder 0."),
        "{output}"
    );
    assert_ne!(larder.address().port(), 0, "the port that the system chose is said");
    assert!(larder.banner("upstream").contains("--upstream redis://host:port"), "what to do next is said");
    let admin: SocketAddr = larder.banner("admin").strip_prefix("http://").expect("a URL").parse().expect("an address");
    assert_eq!(http(admin, "GET", "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(larder.connect().say("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn an_upstream_named_by_its_url_is_served_without_a_file() {
    let redis = Redis::start();
    redis.say("SET k of-redis");
    let url = format!("redis://{}", redis.address());
    let larder = Program::start(&anywhere(&["--upstream", &url]));
    assert!(larder.banner("upstream").contains(&redis.address().to_string()), "{}", larder.output());
    assert_eq!(larder.banner("config"), "--upstream");
    let mut client = larder.connect();
    assert_eq!(client.say("GET k"), Reply::bulk("of-redis"));
    assert_eq!(client.say("SET k of-larder"), Reply::ok());
    assert_eq!(redis.say("GET k"), Reply::bulk("of-larder"));
}

#[test]
fn sessions_start_in_the_database_of_the_url() {
    let redis = Redis::start();
    redis.connect().pipeline(&["SET k zero", "SELECT 3", "SET k three"]);
    let url = format!("redis://{}/3", redis.address());
    let larder = Program::start(&anywhere(&["--upstream", &url]));
    let mut client = larder.connect();
    for _ in 0..3 {
        assert_eq!(client.say("GET k"), Reply::bulk("three"), "read, and read again from the near-cache");
    }
    assert!(client.say("CLIENT INFO").text().expect("text").contains(" db=3 "), "and say so");
    assert_eq!(client.say("SET written here"), Reply::ok());
    assert_eq!(redis.connect().pipeline(&["SELECT 3", "GET written"])[1], Reply::bulk("here"));
    // Elsewhere on demand, and back where a new connection would be.
    assert_eq!(client.pipeline(&["SELECT 0", "GET k"])[1], Reply::bulk("zero"));
    assert_eq!(client.pipeline(&["RESET", "GET k"])[1], Reply::bulk("three"));
}

#[test]
fn user_and_password_of_the_url_are_used_and_never_shown() {
    let redis = Redis::start_with(&["--user", "app", "on", ">hush", "~*", "+@all", "--requirepass", "other"]);
    let url = format!("redis://app:hush@{}/1", redis.address());
    let larder = Program::start(&anywhere(&["--upstream", &url]));
    let mut client = larder.connect();
    assert_eq!(client.say("SET k v"), Reply::ok());
    assert_eq!(client.say("ACL WHOAMI"), Reply::bulk("app"));
    assert!(!larder.output().contains("hush"), "{}", larder.output());
    let info = client.say("INFO").text().expect("text");
    assert!(!info.contains("hush"), "{info}");
}

#[test]
fn a_file_is_read_and_its_listeners_give_way_to_the_flag() {
    let redis = Redis::start();
    let scratch = Scratch::new("file");
    let file = scratch.file("larder.yaml");
    let text = format!(
        "listeners:\n  - address: 127.0.0.1:1\nupstreams:\n  shop: {{kind: redis, endpoints: [\"{}\"]}}\n",
        redis.address()
    );
    fs::write(&file, text).expect("the scratch directory is writable");
    let path = file.display().to_string();
    let larder = Program::start(&anywhere(&["--config", &path]));
    assert_eq!(larder.banner("config"), path);
    assert!(larder.banner("upstream").starts_with("shop "), "{}", larder.output());
    assert_eq!(larder.connect().say("SET k v"), Reply::ok());
    assert_eq!(redis.say("GET k"), Reply::bulk("v"));
    let info = larder.connect().say("INFO server").text().expect("text");
    assert!(info.contains(&format!("config_file:{path}\r\n")), "{info}");
}

#[test]
fn several_addresses_are_listened_on() {
    let scratch = Scratch::new("several");
    let socket = scratch.file("larder.sock");
    let unix = format!("unix:{}", socket.display());
    let mut larder = Program::start(&anywhere(&["--listen", &unix]));
    assert!(larder.banner("listening").ends_with(&unix), "{}", larder.output());
    assert_eq!(larder.connect().say("SET k v"), Reply::ok());
    assert_eq!(over_socket(&socket, "EXISTS k\r\n"), ":1\r\n");
    assert_eq!(larder.terminate(FAREWELL), 0);
    assert!(!socket.exists(), "the socket's file is removed at the end");
}

#[test]
fn a_socket_that_a_killed_process_left_behind_is_taken_over() {
    let scratch = Scratch::new("left");
    let socket = scratch.file("larder.sock");
    drop(UnixListener::bind(&socket).expect("a socket can be made"));
    assert!(socket.exists());
    let unix = format!("unix:{}", socket.display());
    let _larder = Program::start(&["--listen", &unix, "--admin", "127.0.0.1:0"]);
    assert_eq!(over_socket(&socket, "PING\r\n"), "+PONG\r\n");
}

// === what cannot be had ===

#[test]
fn a_file_in_the_place_of_the_socket_is_never_removed() {
    let scratch = Scratch::new("precious");
    let file = scratch.file("precious");
    fs::write(&file, "years of work").expect("the scratch directory is writable");
    let mut larder = Program::start(&["--listen", &format!("unix:{}", file.display()), "--admin", "127.0.0.1:0"]);
    assert_eq!(larder.exit_code(), Some(1), "{}", larder.output());
    assert!(larder.output().contains("not a socket"), "{}", larder.output());
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "years of work");
}

#[test]
fn a_socket_on_which_somebody_listens_is_left_to_them() {
    let scratch = Scratch::new("taken");
    let socket = scratch.file("other.sock");
    let _other = UnixListener::bind(&socket).expect("a socket can be made");
    let output = run(&["--listen", &format!("unix:{}", socket.display()), "--admin", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another process listens there"), "{}", stderr(&output));
    assert!(socket.exists());
}

#[test]
fn a_taken_port_ends_the_start_with_code_1_and_what_to_do() {
    let scratch = Scratch::new("taken");
    let socket = scratch.file("larder.sock");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let unix = format!("unix:{}", socket.display());
    let output = run(&["--listen", &unix, "--listen", &address, "--admin", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"), "{said}");
    assert!(!socket.exists(), "nothing is left of the listener that could be had");

    let output = run(&["--listen", "127.0.0.1:0", "--admin", &address]);
    assert_eq!(output.status.code(), Some(1), "an admin address that was asked for must be had");
    assert!(stderr(&output).contains("--admin"), "{}", stderr(&output));
}

#[test]
fn without_its_default_admin_address_it_goes_on_and_says_so() {
    // Where it is taken already, it is taken.
    let _taken = TcpListener::bind("127.0.0.1:9180");
    let larder = Program::start(&["--listen", "127.0.0.1:0"]);
    assert_eq!(larder.banner("admin"), "none");
    let output = larder.output();
    assert!(output.contains("127.0.0.1:9180") && output.contains("--admin"), "{output}");
    assert_eq!(larder.connect().say("PING"), Reply::Simple("PONG".to_owned()));
}

// === --check ===

/// `--check` of a file with this text.
fn check(text: &str) -> (Output, String) {
    let scratch = Scratch::new("check");
    let file = scratch.file("larder.yaml");
    fs::write(&file, text).expect("the scratch directory is writable");
    let path = file.display().to_string();
    (run(&["--config", &path, "--check"]), path)
}

#[test]
fn a_good_file_is_told_with_what_was_understood() {
    let (output, path) = check(
        "listeners:\n  - address: 127.0.0.1:7000\nupstreams:\n  main: {kind: redis, endpoints: [10.0.0.7:6379]}\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with(&format!("{path}: OK\n")), "{said}");
    assert!(said.contains("127.0.0.1:7000") && said.contains("main (redis at 10.0.0.7:6379)"), "{said}");
    assert_eq!(stderr(&output), "", "nothing is wrong, so nothing is said on stderr");
}

#[test]
fn the_example_file_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.example.yaml");
    let output = run(&["--config", &path.display().to_string(), "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn every_fault_of_a_file_is_told_at_once_with_its_place_and_what_would_be_right() {
    let text = "\
listeners:
  - address: 127.0.0.1
upstreams:
  main:
    kind: rediss
    endpoint: [127.0.0.1:6379]
    connect_timeout: soon
near_cache:
  max_memory: 10 apples
nearcache: {}
routes:
  - keys: [\"a:*\"]
    cache: {ttl: -1s}
";
    let (output, path) = check(text);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    for (line, key) in [
        (2, "listeners[0].address"),
        (5, "upstreams.main.kind"),
        (6, "upstreams.main.endpoint"),
        (7, "upstreams.main.connect_timeout"),
        (9, "near_cache.max_memory"),
        (10, "nearcache"),
        (13, "routes[0].cache.ttl"),
    ] {
        let place = said
            .lines()
            .find(|told| told.starts_with(&format!("{path}:{line}:")) && told.contains(&format!(" {key}: ")));
        assert!(place.is_some(), "line {line}, {key} in:\n{said}");
    }
    for words in ["endpoints", "near_cache", "redis", "250ms", "mb"] {
        assert!(said.contains(words), "`{words}`, which would be right, in:\n{said}");
    }
    // Each fault is followed by its remedy on a line of its own.
    let remedies = said.lines().filter(|line| line.starts_with("    ")).count();
    assert!(remedies >= 7, "{said}");
}

#[test]
fn files_of_tls_are_read_by_the_check_too() {
    let scratch = Scratch::new("tls");
    let file = scratch.file("not.pem");
    fs::write(&file, "no certificate\n").expect("the scratch directory is writable");
    let pem = file.display();
    let (output, _) = check(&format!(
        "listeners:\n  - {{address: 127.0.0.1:7000, tls: {{cert: {pem}, key: {pem}}}}}\nupstreams:\n  main: {{kind: redis, \
         endpoints: [10.0.0.7:6379], tls: {{ca: {pem}}}}}\n"
    ));
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("listeners[0].tls") && said.contains("upstreams.main.tls"), "{said}");
    assert!(said.contains(&file.display().to_string()), "{said}");
}

#[test]
fn a_socket_with_tls_is_refused_and_not_served_without() {
    let (output, _) = check(
        "listeners:\n  - {address: \"unix:/run/larder.sock\", tls: {cert: /dev/null, key: /dev/null}}\nupstreams:\n  \
         main: {kind: redis, endpoints: [\"unix:/run/redis.sock\"], tls: {}}\n",
    );
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("listeners[0].tls") && said.contains("upstreams.main.tls"), "{said}");
}

#[test]
fn what_is_not_there_and_what_is_not_known_ends_with_code_2() {
    for (args, words) in [
        (&["--config", "/nonexistent/larder.yaml"][..], "/nonexistent/larder.yaml"),
        (&["--config", "/nonexistent/larder.yaml", "--check"], "there is no such file"),
        (&["--bogus"], "--bogus"),
        (&["--upstream", "redis://"], "--upstream"),
        (&["--upstream", "http://127.0.0.1:1"], "the schemes are redis"),
        (&["--upstream", "memory://", "--config", "x"], "--config"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--admin", "nowhere"], "--admin"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert!(stdout(&run(&["--version"])).starts_with("larder "));
}

// === the end ===

#[test]
fn sigterm_ends_it_with_code_0_while_clients_are_connected() {
    let redis = Redis::start();
    let scratch = Scratch::new("end");
    let socket = scratch.file("larder.sock");
    let unix = format!("unix:{}", socket.display());
    let file = scratch.file("larder.yaml");
    let text = format!(
        "listeners: [{{address: \"127.0.0.1:0\"}}, {{address: \"{unix}\"}}]\nupstreams: {{main: {{kind: redis, endpoints: [\"{}\"]}}}}\n\
         drain_timeout: 100ms\n",
        redis.address()
    );
    fs::write(&file, text).expect("the scratch directory is writable");
    let mut larder = Program::start(&["--config", &file.display().to_string(), "--admin", "127.0.0.1:0"]);
    let mut clients: Vec<_> = (0..50).map(|_| larder.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.say("INCR n").error(), None);
    }
    // One that sends and never reads, and one in the middle of a command.
    clients[0].send_raw(&b"GET n\r\n".repeat(1000)).expect("sent");
    clients[1].send_raw(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf").expect("sent");
    assert_eq!(larder.terminate(FAREWELL), 0, "{}", larder.output());
    assert!(!socket.exists());
    assert!(larder.output().contains("SIGTERM"), "{}", larder.output());
    assert!(clients[2].read_to_close().is_ok_and(|rest| rest.is_empty()), "its clients see the end");
}

#[test]
fn sigterm_ends_it_also_while_its_upstream_cannot_be_reached() {
    let nobody = port::free();
    let url = format!("redis://{nobody}");
    let mut larder = Program::start(&anywhere(&["--upstream", &url]));
    let mut client = larder.connect();
    assert!(client.say("GET k").error().is_some_and(|error| error.contains(&nobody.to_string())));
    drop(client);
    assert_eq!(larder.terminate(FAREWELL), 0, "{}", larder.output());
}
