//! `larder health`, the image's own health check.

use larder_integration_tests::port;
use larder_integration_tests::process::Signal;
use larder_integration_tests::program::{Program, run};
use larder_integration_tests::wait;

use crate::said;

#[test]
fn one_that_runs_is_live_and_one_that_does_not_is_told_with_what_to_do() {
    let mut larder = Program::start(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let admin = larder.banner("admin").replace("http://", "");
    let output = run(&["health", "live", "--admin", &admin]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "ok\n"));
    // As in a container, where it listens on every interface.
    let port = admin.rsplit_once(':').expect("a port").1.to_owned();
    assert_eq!(run(&["health", "live", "--admin", &format!("0.0.0.0:{port}")]).status.code(), Some(0));

    larder.terminate(std::time::Duration::from_secs(20));
    let output = run(&["health", "live", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&admin) && said(&output).contains("--admin"), "{}", said(&output));
}

#[test]
fn one_that_is_about_to_end_is_live_and_no_longer_ready() {
    let mut larder = Program::start(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let admin = larder.banner("admin").replace("http://", "");
    let code = |probe: &str| run(&["health", probe, "--admin", &admin]).status.code();
    assert_eq!((code("live"), code("ready")), (Some(0), Some(0)));
    // Somebody is connected, so that it drains for a while.
    let mut client = larder.connect();
    client.say("PING");
    larder.signal(Signal::Terminate);
    wait::until("it is not ready", || code("ready") == Some(1));
    assert_eq!(code("live"), Some(0));
    let output = run(&["health", "--admin", &admin]);
    assert!(output.status.code() == Some(1) && said(&output).contains("draining"), "{}", said(&output));
    drop(client);
    wait::until("the end", || larder.exit_code() == Some(0));
}

#[test]
fn what_answers_otherwise_is_not_well() {
    let larder = Program::start(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let listener = larder.address().to_string();
    let output = run(&["health", "live", "--admin", &listener]);
    assert_eq!(output.status.code(), Some(1), "a Redis port is no admin address: {}", said(&output));
}

#[test]
fn a_question_that_makes_no_sense_ends_with_code_2() {
    let nobody = port::free().to_string();
    for args in [
        &["health", "dead"][..],
        &["health", "--admin", "nowhere"],
        &["--check", "health"],
        &["--admin", &nobody, "health"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    }
}
