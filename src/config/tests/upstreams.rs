//! The words for each mistake in an upstream, and its password file.

use super::*;

/// Each upstream gives exactly one fault, which holds these words.
#[test]
fn faults_of_an_upstream_are_found() {
    let here = file!();
    let redis = "kind: redis, endpoints: [h:1]";
    let nodes = "kind: memcached, endpoints: [h:1, i:2]";
    for (upstream, words) in [
        ("endpoints: [h:1]".to_owned(), "u.kind: this key is required and missing"),
        ("kind: redsi, endpoints: [h:1]".into(), "u.kind: \"redsi\" is not known here | did you mean redis?"),
        ("kind: redis".into(), "u.endpoints: kind redis needs at least one endpoint"),
        ("kind: redis, endpoints: [h:1, i:1]".into(), "kind redis has one endpoint"),
        ("kind: redis, endpoints: [h:0]".into(), "u.endpoints[0]: port 0 cannot be connected to"),
        ("kind: redis-cluster, endpoints: [h:1, h:1]".into(), "h:1 is there twice"),
        ("kind: redis-cluster, endpoints: [h:1], database: 1".into(), "has only database 0"),
        ("kind: redis-cluster, endpoints: [h:1], replicas: [i:1]".into(), "takes no replicas"),
        ("kind: redis-sentinel, endpoints: [h:1]".into(), "u.primary_name: kind redis-sentinel needs"),
        ("kind: memory, endpoints: [h:1]".into(), "kind memory has no endpoints"),
        ("kind: memory, tls: {}".into(), "kind memory has no tls"),
        ("kind: memory, max_memory: 0".into(), "u.max_memory: 0 would stop everything"),
        (format!("{redis}, max_memory: 1gb"), "max_memory belongs to kind memory"),
        (format!("{redis}, max_redirections: 1"), "max_redirections belongs to kind redis-cluster"),
        (format!("{redis}, ring: {{hash: md5}}"), "u.ring: ring belongs to the kinds memcached and redis-ring"),
        (format!("{nodes}, ring: {{hash: md4}}"), "u.ring.hash: \"md4\" is not known here | did you mean md5?"),
        (format!("{nodes}, ring: {{distribution: modula}}"), "write one of ketama, ketama-unweighted"),
        (format!("{nodes}, ring: {{hash_tag: '{{'}}"), "u.ring.hash_tag: \"{\" is not two characters"),
        (
            format!("{nodes}, ring: {{weights: {{'h:1': 0}}}}"),
            "u.ring.weights.h:1: a node of weight 0 would own no key",
        ),
        (format!("{nodes}, ring: {{weights: {{'h:3': 2}}}}"), "u.ring.weights.h:3: h:3 is not one of the endpoints"),
        (format!("{nodes}, ring: {{weights: {{h: 2}}}}"), "u.ring.weights.h: \"h\" has no port"),
        (format!("{nodes}, ring: {{weights: 2}}"), "u.ring.weights: the number 2 stands where a map of keys belongs"),
        (format!("{nodes}, ring: {{weights: {{'h:1': 1000}}}}"), "with weight 1 of 1001 in all, i:2 would own no key"),
        (
            format!("{nodes}, ring: {{distribution: ketama-unweighted, weights: {{'h:1': 2}}}}"),
            "distribution ketama-unweighted knows no weights | remove them",
        ),
        (format!("{nodes}, ring: {{names: {{'h:3': a}}}}"), "u.ring.names.h:3: h:3 is not one of the endpoints"),
        (format!("{nodes}, ring: {{names: {{'h:1': a, 'i:2': a}}}}"), "h:1 and i:2 have the same name, a"),
        (format!("{nodes}, ring: {{names: {{'h:1': 'i:2'}}}}"), "h:1 and i:2 have the same name, i:2"),
        (format!("{nodes}, ring: {{names: {{'h:1': {}}}}}", "n".repeat(65)), "a name of 65 bytes is too long"),
        (format!("{nodes}, ring: {{names: {{'h:1': 1}}}}"), "u.ring.names.h:1: this is a number"),
        (format!("{redis}, max_leases: 0"), "u.max_leases: with 0 leases every transaction"),
        ("kind: memory, max_leases: 1".into(), "kind memory has no connections to lease"),
        ("kind: memcached".into(), "u.endpoints: kind memcached needs at least one endpoint"),
        ("kind: memcached, endpoints: [h:1], password: x".into(), "u.password: kind memcached is spoken to without"),
        ("kind: memcached, endpoints: [h:1], username: x".into(), "u.username: kind memcached is spoken to without"),
        ("kind: memcached, endpoints: [h:1], coherence: tracking".into(), "u.coherence: memcached tells nobody"),
        ("kind: memcached, endpoints: [h:1], database: 1".into(), "kind memcached has only database 0"),
        ("kind: memcached, endpoints: [h:1], replicas: [i:1]".into(), "kind memcached takes no replicas"),
        ("kind: memcached, endpoints: [h:1], max_leases: 5".into(), "kind memcached has no connections to lease"),
        ("kind: redis-sentinel, primary_name: x".into(), "kind redis-sentinel needs at least one endpoint"),
        (format!("{redis}, primary_name: x"), "kind redis has no primary_name"),
        (format!("{redis}, username: x"), "there is a username and no password"),
        (format!("{redis}, password: 0x1F"), "put it in quotes"),
        (format!("{redis}, password: ''"), "u.password: the text is empty"),
        (format!("{redis}, password_file: /nonexistent/p"), "/nonexistent/p cannot be read: there is no such file"),
        (format!("{redis}, password_file: /dev/null"), "/dev/null is not a regular file"),
        (format!("{redis}, password: a, password_file: /nonexistent/p"), "both password and password_file are given"),
        (format!("{redis}, database: -1"), "-1 is below zero"),
        (format!("{redis}, connect_timeout: 0s"), "u.connect_timeout: 0s is no time"),
        (
            format!("{redis}, heartbeat: {{interval: 1s}}"),
            "u.heartbeat.timeout: 500ms is shorter than the interval of 1s",
        ),
        (format!("{redis}, breaker: {{error_rate: 0%}}"), "u.breaker.error_rate: 0% would open"),
        (format!("{redis}, breaker: {{min_requests: 0}}"), "u.breaker.min_requests: 0 would stop"),
        (format!("{redis}, health_check: {{interval: 0s}}"), "u.health_check.interval: 0s"),
        (format!("{redis}, tls: {{ca: /nonexistent/ca}}"), "u.tls.ca: /nonexistent/ca cannot be read"),
        (format!("{redis}, tls: {{cert: {here}}}"), "u.tls.cert: cert is given without key"),
        (format!("{redis}, tls: true"), "u.tls: true stands where a map of keys belongs"),
    ] {
        let text = format!("listeners: [{{address: 127.0.0.1:1}}]\nupstreams:\n  u: {{{upstream}}}\n");
        let mut found = faults(&text);
        if words.starts_with("both ") {
            found.retain(|fault| !fault.contains("no such file"));
        }
        assert!(found.len() == 1 && found[0].contains(words), "{upstream} gave {found:#?}");
        assert!(found[0].starts_with("3:"), "{upstream} gave {found:#?}");
    }
}

#[test]
fn an_invalidation_channel_stands_where_it_means_something() {
    let channel = "invalidation: {channel: c, upstream: main";
    let cases = [
        (format!("kind: redis, endpoints: [h:1], coherence: ttl, {channel}}}"), ""),
        (format!("kind: redis, endpoints: [h:1], coherence: ttl, {}}}", channel.replace("main", "u")), ""),
        (format!("kind: memcached, endpoints: [h:1], {channel}, delete: true}}"), ""),
        (
            format!("kind: redis, endpoints: [h:1], {channel}}}"),
            "u.invalidation: these servers tell of changes themselves",
        ),
        (format!("kind: memory, {channel}}}"), "u.invalidation: kind memory needs no invalidation"),
        (
            format!("kind: redis, endpoints: [h:1], coherence: ttl, {channel}, delete: true}}"),
            "u.invalidation.delete: delete belongs to kind memcached",
        ),
        (
            format!("kind: memcached, endpoints: [h:1], {channel}1}}"),
            "no upstream named \"main1\" | did you mean main?",
        ),
        (
            format!("kind: memcached, endpoints: [h:1], {}}}", channel.replace("main", "u")),
            "u.invalidation.upstream: upstream u does not pass messages on to everybody: it is of kind memcached",
        ),
        (
            "kind: memcached, endpoints: [h:1], invalidation: {channel: '', upstream: main}".to_owned(),
            "u.invalidation.channel: the text is empty",
        ),
        (
            "kind: memcached, endpoints: [h:1], invalidation: {upstream: main}".to_owned(),
            "channel: this key is required",
        ),
        (
            format!(
                "kind: memcached, endpoints: [h:1], {channel}}}}}\n  v: {{kind: memcached, endpoints: [i:1], {channel}}}"
            ),
            "v.invalidation.channel: this is also the channel of upstream u",
        ),
    ];
    for (upstream, words) in cases {
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\nupstreams:\n  main: {{kind: redis, endpoints: [m:1]}}\n  u: {{{upstream}}}\n\
             routes: [{{keys: ['*'], upstream: main}}]\n"
        );
        if words.is_empty() {
            let config = good(&text);
            assert_eq!(good(&config.to_string()).upstreams, config.upstreams, "{upstream}");
        } else {
            let found = faults(&text);
            assert!(found.len() == 1 && found[0].contains(words), "{upstream} gave {found:#?}");
        }
    }
}

#[test]
fn a_password_file_gives_its_only_line() {
    let path = std::env::temp_dir().join(format!("larder-password-{}", std::process::id()));
    let text = format!(
        "listeners: [{{address: 127.0.0.1:1}}]\nupstreams: {{u: {{kind: redis, endpoints: [h:1], password_file: '{}'}}}}",
        path.display()
    );
    for (content, result) in [
        ("secret\n", Ok("secret")),
        ("secret\r\n", Ok("secret")),
        (" s p ", Ok(" s p ")),
        ("", Err("is empty")),
        ("\n", Err("is empty")),
        ("a\nb\n", Err("has more than one line")),
        (&"x".repeat(5000), Err("is longer than 4096 bytes")),
    ] {
        std::fs::write(&path, content).unwrap();
        match (parse(&text, "t.yaml"), result) {
            (Ok(config), Ok(password)) => {
                assert_eq!(config.upstreams["u"].password.as_ref().unwrap().expose(), password);
            }
            (Err(errors), Err(words)) => assert!(errors.to_string().contains(words), "{errors}"),
            (got, _) => panic!("{content:?} gave {got:?}"),
        }
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_ring_reads_and_prints_the_same() {
    let text = "listeners: [{address: 127.0.0.1:1}]
upstreams:
  u:
    kind: memcached
    endpoints: [h:1, '[::1]:11211', 'unix:/run/m.sock', plain:11211]
    ring: {distribution: ketama, hash: fnv1a_64, hash_tag: '\"\\', weights: {'[::1]:11211': 3}, names: {'h:1': \"a 'b\"}}
";
    let config = good(text);
    let (endpoints, ring) = (&config.upstreams["u"].endpoints, &config.upstreams["u"].ring);
    assert_eq!((ring.hash, ring.hash_tag), (KeyHash::Fnv1a64, Some(*b"\"\\")));
    let weights: Vec<_> = endpoints.iter().map(|endpoint| ring.weight_of(endpoint)).collect();
    assert_eq!(weights, [1, 3, 1, 1]);
    let names: Vec<_> = endpoints.iter().map(|endpoint| ring.name_of(endpoint)).collect();
    assert_eq!(names, ["a 'b", "::1", "/run/m.sock", "plain"]);
    let again = good(&config.to_string());
    assert_eq!(again.upstreams, config.upstreams);
}
