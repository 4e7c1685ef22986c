//! Real clients, unchanged: the command-line tools, redis-py, ioredis and node-redis.
//!
//! `integration-tests/run` installs what these tests need; without it they fail and say so.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use larder_integration_tests::client_script;
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it to its end with this text as its input.
fn finish(mut command: Command, input: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    // A program that ends early does not read all of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

/// Runs a client script against a Larder of its own.
fn run_script(script: &str) {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    client_script::run(script, larder.address());
}

#[test]
fn redis_py_works_in_both_protocols() {
    run_script("redis_py.py");
}

#[test]
fn ioredis_works() {
    run_script("ioredis.mjs");
}

#[test]
fn node_redis_works_in_both_protocols() {
    run_script("node_redis.mjs");
}

/// What a person types, with the replies as redis-cli shows them.
const TYPED: &str = "SET greeting \"hello world\"
GET greeting
GET greeting
HSET h a 1 b 2
HGETALL h
HGETALL h
ZADD z 1.5 m
ZRANGE z 0 -1 WITHSCORES
ZSCORE z m
SMEMBERS none
LPUSH greeting x
NOSUCH command
SELECT 3
GET greeting
MGET greeting h
SELECT 0
OBJECT ENCODING greeting
EVAL \"return {1,{2,'three'}}\" 0
CLIENT SETNAME me
CLIENT GETNAME
PING hello
DEL greeting h z
GET greeting
";

#[test]
fn redis_cli_shows_the_same_as_with_redis() {
    let (bare, origin) = (Redis::start(), Redis::start());
    let larder = Larder::start(origin.address());
    for protocol in ["-2", "-3"] {
        let shown = [bare.address(), larder.address()].map(|address| {
            let mut command = Command::new("redis-cli");
            command.args(["-p", &address.port().to_string(), protocol, "--no-raw"]);
            let output = finish(command, TYPED);
            assert!(output.status.success(), "redis-cli {protocol}: {}", output.status);
            assert_eq!(text(&output.stderr), "", "redis-cli {protocol} warned");
            text(&output.stdout)
        });
        assert_eq!(shown[1], shown[0], "redis-cli {protocol}");
    }
}

#[test]
fn redis_cli_s_other_modes_run_without_a_warning() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let port = larder.address().port().to_string();
    let mass: String = (0..2000).map(|number| format!("SET key:{number} value:{number}\r\n")).collect();
    let cases: [(&[&str], &str, &str); 7] = [
        (&["--pipe"], &mass, "errors: 0, replies: 2000"),
        (&["--scan", "--pattern", "key:19?9"], "", "key:1989"),
        (&["--bigkeys"], "", "Sampled 2000 keys"),
        (&["-n", "2", "DBSIZE"], "", "0"),
        (&["-r", "50", "GET", "key:7"], "", "value:7"),
        (&["INFO"], "", "redis_version:"),
        (&["--eval", "/dev/stdin", "key:7", ",", "x"], "return redis.call('GET', KEYS[1]) .. ARGV[1]", "value:7x"),
    ];
    for (args, input, expected) in cases {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port]).args(args);
        let output = finish(command, input);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && out.contains(expected), "redis-cli {args:?}: {}\n{out}", output.status);
        assert_eq!(err, "", "redis-cli {args:?} warned");
    }
}

#[test]
fn redis_benchmark_runs_to_its_end_without_a_warning() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let port = larder.address().port().to_string();
    let tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";
    for pipeline in ["1", "16", "64"] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-q", "-n", "2000", "-c", "20", "-r", "100", "-P", pipeline, "-t", tests]);
        let output = finish(command, "");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "redis-benchmark -P {pipeline}: {}\n{out}\n{err}", output.status);
        // Sixteen, since PING is measured inline and as an array, and LPUSH once more before LRANGE.
        let results = out.matches("requests per second").count();
        assert!(results >= 16, "redis-benchmark -P {pipeline} ended early, {results} results:\n{out}");
        let said = format!("{out}{err}").to_lowercase();
        for word in ["warn", "error", "could not"] {
            assert!(!said.contains(word), "redis-benchmark -P {pipeline} said `{word}`:\n{out}\n{err}");
        }
    }
}
