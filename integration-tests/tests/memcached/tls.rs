//! A node that speaks TLS.

use std::net::SocketAddr;
use std::time::Duration;

use larder_integration_tests::certificates::Certificates;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::port;
use larder_integration_tests::wait;

use super::NO_CACHE;

/// A node, and its address for those who speak TLS.
fn start(certificates: &Certificates) -> (Memcached, SocketAddr) {
    let address = port::free();
    let files = format!("ssl_chain_cert={},ssl_key={}", certificates.cert("server"), certificates.key("server"));
    (Memcached::start_with(&["-Z", "-o", &files, "-l", &address.to_string()]), address)
}

#[test]
fn a_node_behind_tls_is_served_like_any_other() {
    let certificates = Certificates::new();
    let (node, address) = start(&certificates);
    let tls = format!("tls: {{ca: {}}}", certificates.cert("ca"));
    let larder = Larder::start_with(&Settings::memcached(&[address]).upstream(&tls).section(NO_CACHE));
    let mut client = larder.connect();
    assert_eq!(client.say("SET k v").text().as_deref(), Some("OK"));
    assert_eq!(node.connect().get("k"), Some((0, "v".to_owned())));
    // Several steps, and more than one record.
    let numbers = vec!["INCR n"; 2000];
    assert_eq!(client.pipeline(&numbers).last().and_then(|reply| reply.integer()), Some(2000));
    let large = "x".repeat(900_000);
    assert_eq!(client.call(&["SET", "large", &large]).text().as_deref(), Some("OK"));
    assert!(client.say("GET large").text().is_some_and(|text| text == large), "it comes back as it was");
    // The connection that deletes at the instant speaks TLS, too.
    assert_eq!(client.say("SET lock me NX PX 300").text().as_deref(), Some("OK"));
    let mut plain = node.connect();
    wait::until_within(Duration::from_millis(900), "the lock is gone", || plain.get("lock").is_none());
}

#[test]
fn a_node_with_a_certificate_of_another_authority_is_refused_in_words() {
    let certificates = Certificates::new();
    let (node, address) = start(&certificates);
    let tls = format!("tls: {{ca: {}}}", certificates.cert("stranger"));
    let settings = Settings::memcached(&[address]).upstream(&tls).upstream("connect_timeout: 500ms");
    let larder = Larder::start_with(&settings);
    wait::until("the error says why", || {
        let reply = larder.say("SET k v");
        let text = reply.error().expect("refused").to_owned();
        assert!(text.contains("upstream 'main'"), "{text}");
        text.contains("UnknownIssuer")
    });
    assert_eq!(node.connect().get("k"), None);
}
