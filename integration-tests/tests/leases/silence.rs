//! T34: CLIENT REPLY OFF and SKIP where replies come from leased connections.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// What is sent, in one write, and nothing of it twice.
const SCRIPTS: &[&[&str]] = &[
    &["CLIENT REPLY OFF", "MULTI", "SET k 1", "EXEC", "CLIENT REPLY ON", "GET k"],
    &["CLIENT REPLY SKIP", "MULTI", "SET k 2", "EXEC", "GET k"],
    &["MULTI", "SET k 3", "EXEC", "CLIENT REPLY SKIP", "GET k", "GET k"],
    &["CLIENT REPLY OFF", "WATCH k", "GET k", "MULTI", "SET k 4", "NOSUCH", "EXEC", "CLIENT REPLY ON", "GET k"],
    &["CLIENT REPLY SKIP", "WATCH k", "SET k 5", "MULTI", "SET k 6", "EXEC", "GET k"],
    &["CLIENT REPLY SKIP", "BLPOP none 0.01", "PING", "BLPOP none 0.01"],
    &["CLIENT REPLY OFF", "BLPOP none 0.01", "WAIT 0 1", "DISCARD", "EXEC", "CLIENT REPLY ON", "PING"],
    &["RPUSH l a b", "CLIENT REPLY SKIP", "BLPOP l 0", "BLPOP l 0", "PING"],
];

#[test]
fn replies_that_are_not_wanted_are_not_sent_though_they_come_late() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for script in SCRIPTS {
        let said = |address| {
            let mut client = Client::connect(address);
            for words in *script {
                client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
            }
            client.send(&["ECHO", "the end"]).expect("sent");
            let mut replies = vec![client.read()];
            while replies.last() != Some(&Reply::bulk("the end")) {
                replies.push(client.read());
            }
            replies
        };
        let expected = said(origin.address());
        origin.say("DEL k l");
        assert_eq!(said(larder.address()), expected, "{script:?}");
        origin.say("DEL k l");
    }
}
