//! Bytes that no client should send: Larder says what Redis says, closes where Redis closes, and nobody else notices.
//!
//! During each case a PING on another connection must be answered.

mod limits;
mod malformed;
mod odd;

use larder_integration_tests::client::Client;
use larder_integration_tests::reply::Reply;

/// A client that does nothing wrong is served as always.
fn assert_others_are_served(bystander: &mut Client) {
    assert_eq!(bystander.say("PING"), Reply::Simple("PONG".to_owned()));
    assert!(bystander.say("SET bystander 1") == Reply::ok() && bystander.say("GET bystander") == Reply::bulk("1"));
}
