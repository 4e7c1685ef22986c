//! Real clients, unchanged: the command-line tools, redis-py, ioredis and node-redis.
//!
//! `integration-tests/run` installs what these tests need; without it they fail and say so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

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
fn run_script(program: &Path, args: &[&str], script: &str) {
    assert!(program.exists() || !program.is_absolute(), "{} is missing: run integration-tests/run", program.display());
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut command = Command::new(program);
    command.args(args).arg(here("clients").join(script)).arg(larder.address().port().to_string());
    let output = finish(command, "");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.trim() == "fine", "{script}: {}\n{out}\n{err}", output.status);
    assert!(err.is_empty(), "{script} warned:\n{err}");
}

#[test]
fn redis_py_works_in_both_protocols() {
    run_script(&here(".venv/bin/python"), &["-W", "error"], "redis_py.py");
}

#[test]
fn ioredis_works() {
    assert!(here("clients/node_modules/ioredis").exists(), "ioredis is missing: run integration-tests/run");
    run_script(Path::new("node"), &[], "ioredis.mjs");
}

#[test]
fn node_redis_works_in_both_protocols() {
    assert!(here("clients/node_modules/redis").exists(), "node-redis is missing: run integration-tests/run");
    run_script(Path::new("node"), &[], "node_redis.mjs");
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
