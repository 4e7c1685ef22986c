//! `larder top` in a real pseudo-terminal.

use larder_integration_tests::client_script;
use larder_integration_tests::larder::{Larder, binary_path};
use larder_integration_tests::program::run;
use larder_integration_tests::redis::Redis;

#[test]
fn numbers_appear_in_a_terminal_that_is_restored_at_any_end() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let args = [binary_path().display().to_string(), larder.admin().to_string(), larder.process().id().to_string()];
    client_script::run_with("top_terminal.py", larder.address(), &args);
}

#[test]
fn a_token_file_that_cannot_be_read_is_told_before_the_terminal_changes() {
    let ended = run(&["top", "--token-file", "/no/such/file"]);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("--token-file: /no/such/file cannot be read: there is no such file"), "{said}");
}
