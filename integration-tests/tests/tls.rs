//! TLS on both sides: towards an origin that asks for it, and towards clients.

use std::net::SocketAddr;
use std::process::{Command, Output};

use larder_integration_tests::certificates::Certificates;
use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::port;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// An origin with a TLS port beside its plain one, through which the test looks on.
struct TlsOrigin {
    redis: Redis,
    tls: SocketAddr,
}

impl TlsOrigin {
    /// `clients`: `no`, or `yes` where it asks them for a certificate.
    fn start(certificates: &Certificates, server: &str, clients: &str) -> Self {
        let tls = port::free();
        let redis = Redis::start_with(&[
            "--tls-port",
            &tls.port().to_string(),
            "--tls-cert-file",
            &certificates.cert(server),
            "--tls-key-file",
            &certificates.key(server),
            "--tls-ca-cert-file",
            &certificates.cert("ca"),
            "--tls-auth-clients",
            clients,
        ]);
        Self { redis, tls }
    }

    fn larder(&self, tls: &str) -> Larder {
        Larder::start_with(&Settings::new(self.tls).upstream(&format!("tls: {tls}")))
    }

    /// One that will get nowhere, and shall not try for long.
    fn hopeless_larder(&self, tls: &str) -> Larder {
        let settings = Settings::new(self.tls).upstream(&format!("tls: {tls}"));
        Larder::start_with(&settings.upstream("connect_timeout: 500ms"))
    }
}

/// Reads, writes, the near-cache and its pushes work through this Larder.
fn assert_serves(larder: &Larder, origin: &Redis) {
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        assert_eq!(client.say("SET k v"), Reply::ok());
        assert_eq!(origin.say("GET k"), Reply::bulk("v"));
        larder.warm(&mut client, "GET k");
        let pushed = larder.metrics().sum_where("larder_cache_invalidations_total", "cause=\"push\"");
        assert_eq!(origin.say("SET k elsewhere"), Reply::ok());
        wait::until("the change is pushed", || client.say("GET k") == Reply::bulk("elsewhere"));
        let now = larder.metrics().sum_where("larder_cache_invalidations_total", "cause=\"push\"");
        assert!(now > pushed, "the push made it so, and not the end of a life");
    }
    assert!(larder.say("INFO larder").text().is_some_and(|text| text.contains("coherence:tracking\r\n")));
    assert!(larder.say("INFO server").text().is_some_and(|text| text.contains("redis_version:7.")));
}

/// The error that clients get, which must name the upstream.
fn refusal(larder: &Larder) -> String {
    let mut told = String::new();
    wait::until("an error", || {
        told = larder.say("GET k").error().unwrap_or_default().to_owned();
        !told.is_empty()
    });
    assert!(told.contains("upstream 'main'"), "{told}");
    told
}

// === towards the origin ===

#[test]
fn an_origin_behind_tls_is_served_like_any_other() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "server", "no");
    let larder = origin.larder(&format!("{{ca: {}}}", certificates.cert("ca")));
    assert_serves(&larder, &origin.redis);
}

#[test]
fn large_values_and_long_pipelines_pass_through_tls() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "server", "no");
    let larder = origin.larder(&format!("{{ca: {}}}", certificates.cert("ca")));
    let mut client = larder.connect();
    let large: Vec<u8> = (0..=255).cycle().take(20 << 20).collect();
    assert_eq!(client.call(&[b"SET".as_slice(), b"large", &large]), Reply::ok());
    assert!(client.call(&["GET", "large"]) == Reply::Bulk(large.clone()), "the value comes back as it was");
    let numbers: Vec<String> = (0..5000).map(|n| format!("INCRBY n {n}")).collect();
    let sum = (0..5000).sum();
    let replies = client.pipeline(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(replies.last(), Some(&Reply::Integer(sum)));
}

#[test]
fn the_name_in_the_certificate_may_differ_from_the_address_if_it_is_said() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "named", "no");
    let ca = certificates.cert("ca");
    assert_serves(&origin.larder(&format!("{{ca: {ca}, server_name: redis.test}}")), &origin.redis);
    for unsaid in [format!("{{ca: {ca}}}"), format!("{{ca: {ca}, server_name: other.test}}")] {
        let told = refusal(&origin.hopeless_larder(&unsaid));
        assert!(told.contains("certificate not valid for name"), "{told}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_words() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "server", "no");
    let larder = origin.hopeless_larder(&format!("{{ca: {}}}", certificates.cert("stranger")));
    let told = refusal(&larder);
    assert!(told.contains("certificate") && told.contains("UnknownIssuer"), "{told}");
    assert_eq!(larder.metrics().sum("larder_cache_covered"), 0.0);
    assert_eq!(origin.redis.info("total_commands_processed"), "1", "not a word was said to it");
}

#[test]
fn larder_shows_its_certificate_where_the_origin_asks_for_one() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "server", "yes");
    let (ca, cert, key) = (certificates.cert("ca"), certificates.cert("client"), certificates.key("client"));
    assert_serves(&origin.larder(&format!("{{ca: {ca}, cert: {cert}, key: {key}}}")), &origin.redis);
    let told = refusal(&origin.hopeless_larder(&format!("{{ca: {ca}}}")));
    assert!(told.to_lowercase().contains("certificate"), "{told}");
}

#[test]
fn without_a_ca_the_authorities_of_the_system_are_trusted_and_no_others() {
    let certificates = Certificates::new();
    let origin = TlsOrigin::start(&certificates, "server", "no");
    let settings = Settings::new(origin.tls).upstream("tls: {}");
    let trusting = settings.clone().environment("SSL_CERT_FILE", &certificates.cert("ca"));
    assert_serves(&Larder::start_with(&trusting), &origin.redis);
    let settings = settings.upstream("connect_timeout: 500ms");
    let strange = settings.environment("SSL_CERT_FILE", &certificates.cert("stranger"));
    let told = refusal(&Larder::start_with(&strange));
    assert!(told.contains("UnknownIssuer"), "{told}");
}

#[test]
fn an_origin_that_speaks_no_tls_is_refused_in_words() {
    let certificates = Certificates::new();
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).upstream(&format!("tls: {{ca: {}}}", certificates.cert("ca")));
    let larder = Larder::start_with(&settings.upstream("connect_timeout: 500ms"));
    refusal(&larder);
    assert_eq!(larder.say("PING"), Reply::Simple("PONG".to_owned()));
}

// === towards clients ===

/// A Larder with a TLS listener beside the plain one, and that listener's port.
fn tls_larder(origin: &Redis, tls: &str) -> (Larder, u16) {
    let address = port::free();
    let settings = Settings::new(origin.address()).listener(&format!("{{address: \"{address}\", tls: {tls}}}"));
    (Larder::start_with(&settings), address.port())
}

fn redis_cli(port: u16, tls: &[&str], words: &str) -> Output {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "localhost", "-p", &port.to_string()]).args(tls).args(words.split(' '));
    command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn clients_that_speak_tls_are_served() {
    let certificates = Certificates::new();
    let origin = Redis::start();
    let pair = format!("{{cert: {}, key: {}}}", certificates.cert("server"), certificates.key("server"));
    let (larder, port) = tls_larder(&origin, &pair);
    let ca = certificates.cert("ca");
    let tls = ["--tls", "--cacert", &ca];
    assert_eq!(said(&redis_cli(port, &tls, "SET k v")), "OK");
    assert_eq!(origin.say("GET k"), Reply::bulk("v"));
    larder.warm(&mut larder.connect(), "GET k");
    let hits = larder.hits();
    assert_eq!(said(&redis_cli(port, &tls, "GET k")), "v");
    assert!(larder.hits() > hits, "they share the near-cache");
    assert_eq!(said(&redis_cli(port, &[&tls[..], &["-3"]].concat(), "GET k")), "v");
    // A reply of many records, and many connections with pipelines.
    origin.connect().call(&[b"SET".as_slice(), b"large", &vec![b'x'; 3 << 20]]);
    assert_eq!(said(&redis_cli(port, &tls, "GET large")).len(), 3 << 20);
    let benchmark = Command::new("redis-benchmark")
        .args(["-h", "localhost", "-p", &port.to_string(), "-n", "2000", "-P", "16", "-c", "10", "-q", "-t", "set,get"])
        .args(tls)
        .output()
        .expect("redis-benchmark is installed with redis-cli");
    let told = said(&benchmark);
    assert!(benchmark.status.success() && told.contains("GET:") && !told.contains("rror"), "{told}");
}

#[test]
fn clients_need_a_certificate_where_one_is_asked_for() {
    let certificates = Certificates::new();
    let origin = Redis::start();
    let (ca, cert, key) = (certificates.cert("ca"), certificates.cert("client"), certificates.key("client"));
    let server = (certificates.cert("server"), certificates.key("server"));
    let (larder, port) = tls_larder(&origin, &format!("{{cert: {}, key: {}, client_ca: {ca}}}", server.0, server.1));
    let shown = ["--tls", "--cacert", &ca, "--cert", &cert, "--key", &key];
    assert_eq!(said(&redis_cli(port, &shown, "PING")), "PONG");
    let strange = (certificates.cert("stranger"), certificates.key("stranger"));
    for tls in [&shown[..3], &["--tls", "--cacert", &ca, "--cert", &strange.0, "--key", &strange.1]] {
        let output = redis_cli(port, tls, "PING");
        assert_ne!(said(&output), "PONG", "{tls:?}");
    }
    wait::until("the log says who was not admitted", || {
        larder.process().output().matches("client not admitted").count() >= 2
    });
    assert_eq!(said(&redis_cli(port, &shown, "PING")), "PONG");
}

#[test]
fn a_client_without_tls_is_closed_and_disturbs_nobody() {
    let certificates = Certificates::new();
    let origin = Redis::start();
    let pair = format!("{{cert: {}, key: {}}}", certificates.cert("server"), certificates.key("server"));
    let (larder, port) = tls_larder(&origin, &pair);
    let mut plain = larder_integration_tests::client::Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    plain.send(&["PING"]).expect("sent");
    let answer = plain.read_to_close().expect("it is closed");
    assert!(!answer.starts_with(b"+PONG"), "{}", answer.escape_ascii());
    assert_eq!(larder.say("PING"), Reply::Simple("PONG".to_owned()));
    wait::until("it is counted out", || larder.metrics().sum("larder_clients") <= 1.0);
}

#[test]
fn files_that_do_not_fit_together_end_the_start_and_are_named() {
    let certificates = Certificates::new();
    let origin = Redis::start();
    let (cert, key) = (certificates.cert("server"), certificates.key("client"));
    let scratch = larder_integration_tests::scratch::Scratch::new("unfit");
    let file = scratch.file("larder.yaml");
    let text = format!(
        "listeners:\n  - {{address: 127.0.0.1:7000, tls: {{cert: {cert}, key: {key}}}}}\nupstreams:\n  main: {{kind: redis, \
         endpoints: [\"{}\"]}}\n",
        origin.address()
    );
    std::fs::write(&file, text).expect("the scratch directory is writable");
    let output = larder_integration_tests::program::run(&["--config", &file.display().to_string()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(&cert) && told.contains("listeners[0].tls"), "{told}");
}
