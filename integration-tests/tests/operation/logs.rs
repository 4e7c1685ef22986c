//! The log: its forms, its levels, what never stands in it, and that nobody can flood it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use larder_integration_tests::certificates::Certificates;
use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::{Larder, Settings, binary_path};
use larder_integration_tests::port;
use larder_integration_tests::process::{Process, Signal};
use larder_integration_tests::program::run;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

use crate::drain::ends;

fn memory(log: &str) -> Settings {
    Settings::memory().section(&format!("log: {log}"))
}

fn stop(larder: Larder) -> String {
    larder.process().signal(Signal::Terminate);
    ends(larder)
}

#[test]
fn json_has_one_object_on_each_line_with_time_level_and_message() {
    let output = stop(Larder::start_with(&memory("{format: json, level: debug}")));
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines.len() >= 3, "{output}");
    for line in &lines {
        let time = line.strip_prefix("{\"timestamp\":\"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
        assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{line}");
        assert!(line.contains("\",\"level\":\"") && line.contains(",\"message\":\"") && line.ends_with('}'), "{line}");
    }
    // A reader of JSON, and not the test alone, takes every line.
    let scratch = Scratch::new("json");
    let file = scratch.file("log");
    fs::write(&file, &output).expect("the scratch directory is writable");
    let script = "import json, sys\nfor line in open(sys.argv[1]): json.loads(line)['message']";
    let checked = Command::new("python3").arg("-c").arg(script).arg(&file).status();
    assert!(checked.map_or(true, |status| status.success()), "{output}");
    assert!(output.contains("drained: of"), "{output}");
}

#[test]
fn the_level_of_the_file_holds_and_the_environment_wins_over_it() {
    let quiet = stop(Larder::start_with(&memory("{level: off}")));
    assert!(!quiet.contains("INFO") && quiet.contains("listening"), "the banner is no line of the log: {quiet}");
    let loud = stop(Larder::start_with(&memory("{level: off}").environment("LARDER_LOG", "info")));
    assert!(loud.contains("INFO drained"), "{loud}");
    let module = stop(Larder::start_with(&memory("{level: \"off,larder::events=info\"}")));
    assert!(module.contains("INFO drained"), "{module}");
}

#[test]
fn a_reload_changes_the_level() {
    let larder = Larder::start_with(&memory("{level: off}"));
    larder.rewrite(&larder.yaml(&memory("{level: info}")));
    assert!(larder.reload());
    let output = stop(larder);
    assert!(output.contains("INFO the log is written from info on (before: off)"), "{output}");
    assert!(output.contains("INFO drained"), "{output}");
}

#[test]
fn a_level_that_is_none_is_refused_with_its_place() {
    let scratch = Scratch::new("level");
    let file = scratch.file("larder.yaml");
    let text = "listeners: [{address: 127.0.0.1:7000}]\nupstreams: {main: {kind: memory}}\nlog:\n  level: inof\n";
    fs::write(&file, text).expect("the scratch directory is writable");
    let output = run(&["--config", &file.display().to_string(), "--check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(":4:") && said.contains("log.level") && said.contains("did you mean info?"), "{said}");
    let mut command = Command::new(binary_path());
    let output = command.env("LARDER_LOG", "larder=verbose").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("LARDER_LOG: \"verbose\" is not a level"), "{said}");
}

#[test]
fn ten_thousand_bad_clients_make_a_few_lines_and_all_of_them_are_counted() {
    const CLIENTS: usize = 10_000;
    let larder = Larder::start_with(&Settings::memory());
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(larder.address()).expect("it listens");
        client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    }
    wait::until("all are served", || larder.metrics().sum("larder_clients_accepted_total") > CLIENTS as f64);
    wait::until("all are gone", || larder.metrics().sum("larder_clients") == 0.0);
    let output = stop(larder);
    let written = output.lines().filter(|line| line.contains("bytes of an HTTP request")).count();
    let left_out = |line: &str| line.rsplit_once("left_out=")?.1.trim().parse::<usize>().ok();
    let counted: usize = output.lines().filter(|line| line.contains("sent an HTTP request")).filter_map(left_out).sum();
    assert_eq!(written + counted, CLIENTS, "{written} were written");
    assert!(written <= 100, "{written}");
}

/// Everything that must never be seen, in one word each.
const SECRETS: [&str; 8] = ["Xkey", "Xvalue", "Xchannel", "Xpassword", "Xuser", "Xurl", "Xupstream", "Xscript"];

#[test]
fn no_key_value_or_secret_is_written_at_any_level_whatever_goes_wrong() {
    const ALL: &str = "trace,fred=trace,hyper=trace,rustls=trace,tokio=trace,axum=trace,mio=trace";
    let certificates = Certificates::new();
    let mut redis = Redis::start_with(&["--requirepass", "Xupstream"]);
    let tls = port::free();
    let listener = format!(
        "{{address: \"{tls}\", tls: {{cert: \"{}\", key: \"{}\"}}}}",
        certificates.cert("server"),
        certificates.key("server")
    );
    let settings = Settings::new(redis.address())
        .upstream("password: Xupstream")
        .upstream("command_timeout: 300ms")
        .upstream("coherence: ttl")
        .upstream("invalidation: {channel: changes, upstream: main}")
        .listener(&listener)
        .environment("LARDER_LOG", ALL);
    let larder = Larder::start_with(&settings);
    let provoke = || {
        for protocol in Protocol::BOTH {
            let mut client = larder.connect();
            for words in [
                "SET Xkey Xvalue",
                "GET Xkey",
                "MGET Xkey Xkey:2",
                "INCR Xkey",
                "Xkey Xvalue",
                "SET Xkey",
                "CONFIG SET requirepass Xpassword",
                "EVAL Xscript 1 Xkey Xvalue",
                "LARDER EXPLAIN GET Xkey",
                "LARDER INVALIDATE Xkey",
                "LARDER HOTKEYS",
                "CLIENT SETNAME Xuser",
                "CLIENT TRACKING ON BCAST PREFIX Xkey",
                "CLIENT KILL ID 999999",
                "MULTI",
                "SET Xkey Xvalue",
                "Xvalue",
                "EXEC",
                "BLPOP Xkey 0.01",
                "PUBLISH Xchannel Xvalue",
                "AUTH Xpassword",
                "AUTH Xuser Xpassword",
                "GET Xkey",
            ] {
                client.say(words);
            }
            client.send(&["HELLO", protocol.number(), "AUTH", "Xuser", "Xpassword"]).expect("sent");
            let _ = client.try_read();
            let mut subscriber = larder.connect();
            let _ = subscriber.send(&["SUBSCRIBE", "Xchannel"]);
            for raw in [
                &b"*1\r\n$-5\r\nXkey Xvalue\r\n"[..],
                b"POST /Xkey HTTP/1.1\r\n",
                b"\"Xkey\r\n",
                b"*2\r\n$3\r\nGET\r\n:Xkey\r\n",
            ] {
                let _ = larder.connect().send_raw(raw);
                let mut stream = TcpStream::connect(tls).expect("it listens");
                let _ = stream.write_all(raw);
            }
        }
    };
    provoke();
    let mut origin = redis.connect();
    assert_eq!(origin.say("AUTH Xupstream"), Reply::ok());
    for message in
        ["{\"keys\": \"Xkey\"}", "{\"Xkey\": []}", "[\"Xkey\", 1]", "{\"keys\": [\"Xkey\"], \"prefixes\": [\"Xkey:\"]}"]
    {
        origin.call(&["PUBLISH", "changes", message]);
    }
    wait::until("the messages were heard", || larder.process().output().contains("cannot be read"));
    // A file that is wrong, in places where secrets stand.
    for line in ["password: [Xpassword]", "password: {Xpassword: Xvalue}", "username: Xuser\n    passwort: Xpassword"] {
        larder.rewrite(&larder.yaml(&Settings::new(redis.address()).upstream(line)));
        assert!(!larder.reload(), "{line} was taken");
    }
    // Its upstream dies.
    redis.kill();
    provoke();
    let output = stop(larder);
    assert!(output.contains("DEBUG"), "nothing is written at this level:\n{output}");
    assert!(output.contains("client not admitted"), "no handshake has failed:\n{output}");
    clean(&output);
}

#[test]
fn nor_are_those_of_a_url_and_of_an_upstream_that_refuses_them() {
    let redis = Redis::start();
    for address in
        [redis.address(), TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")]
    {
        let scratch = Scratch::new("url");
        let mut command = Command::new(binary_path());
        let url = format!("redis://Xuser:Xurl@{address}");
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &url]);
        command.env("LARDER_LOG", "trace,fred=trace").current_dir(scratch.path());
        let mut process = Process::spawn("larder", command, scratch.file("log"));
        wait::until("it has tried", || process.output().contains("workers"));
        wait::until("it has been refused", || process.output().contains("not covered"));
        process.signal(Signal::Terminate);
        wait::until("the end", || process.exit_status().is_some());
        clean(&process.output());
    }
}

fn clean(output: &str) {
    for secret in SECRETS {
        let lines: Vec<_> = output.lines().filter(|line| line.contains(secret)).take(5).collect();
        assert!(lines.is_empty(), "{secret} is in the log:\n{}", lines.join("\n"));
    }
}
