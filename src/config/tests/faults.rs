//! The words for each mistake, with the place they point at.

use super::*;

#[test]
fn all_errors_of_a_file_are_reported_at_once_with_their_places() {
    let text = "\
listeners:
  - address: 127.0.0.1
upstreams:
  main:
    kind: redis
    endpoint: [127.0.0.1:6379]
    command_timeout: 5
    breaker: {error_rate: 0.5}
routes:
  - keys: [\"a:*\", \"a:*\"]
    upstream: mian
near_cache:
  max_memory: 1mb
  max_memory: 2mb
workers: 0
";
    assert_eq!(
        faults(text).iter().map(|fault| fault.split(" | ").next().unwrap()).collect::<Vec<_>>(),
        [
            "2:14 listeners[0].address: \"127.0.0.1\" has no port",
            "6:5 upstreams.main.endpoint: there is no such key",
            "7:22 upstreams.main.command_timeout: 5 has no unit",
            "8:27 upstreams.main.breaker.error_rate: 0.5 has no %",
            "10:19 routes[0].keys[1]: the pattern \"a:*\" is already routes[0].keys[0]",
            "11:15 routes[0].upstream: there is no upstream named \"mian\"",
            "14:3 near_cache.max_memory: this key is already there in line 13",
            "15:10 workers: 0 workers would serve nobody",
        ]
    );
}

#[test]
fn an_error_prints_as_place_path_problem_and_remedy() {
    let errors =
        parse(&SMALLEST.replace("[127.0.0.1:6379]", "[h:1], command_timeout: \"5\""), "larder.yaml").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "larder.yaml:2:68: upstreams.main.command_timeout: \"5\" has no unit\n    write a duration such as 250ms, 5s, 1m"
    );
}

#[test]
fn a_misspelt_key_is_one_error_with_a_suggestion() {
    let found = faults("listeners: [{adress: 127.0.0.1:1}]\nupstream: {}\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("1:14 listeners[0].adress: there is no such key | did you mean address?"));
    assert!(found[1].starts_with("2:1 upstream: there is no such key | did you mean upstreams?"));
}

#[test]
fn texts_that_are_no_configuration_are_refused_in_words() {
    for (text, problem) in [
        ("", "t.yaml: the file is empty"),
        ("# nothing\n", "t.yaml: the file is empty"),
        ("~", "t.yaml: the file is empty"),
        ("- a\n", "t.yaml:1:3: the file is not a map of keys"),
        ("hello", "t.yaml:1:1: the file is not a map of keys"),
        ("{}", "t.yaml: listeners: this key is required and missing"),
        ("a: b: c", "t.yaml:1:5: this is not valid YAML: mapping values are not allowed"),
        ("a:\n\t- b", "t.yaml:2:1: a tab stands where YAML wants spaces"),
        ("a: \"b", "t.yaml:1:6: this is not valid YAML"),
        ("keys: [*]", "a * at the start of a value"),
        ("keys: *x", "t.yaml:1:7: a * at the start of a value"),
        ("a: !x y", "t.yaml:1:4: a YAML tag"),
        ("a: !!int x", "t.yaml:1:4: a tag (!!) and its value do not fit"),
        ("? [a]\n: b", "t.yaml:1:3: a list or a map stands where a key belongs"),
        ("a: 1\n---\nb: 2", "there is more than one YAML document"),
        ("a: \u{0}", "there is a character that YAML does not allow"),
        ("a: [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]", "lists and maps are nested more than 16 deep"),
    ] {
        let errors = parse(text, "t.yaml").unwrap_err().to_string();
        assert!(errors.contains(problem), "{text:?} gave {errors}");
    }
}

/// Each line behind the smallest file gives exactly one fault, which holds these words.
#[test]
fn faults_beside_the_upstream_are_found() {
    for (line, words) in [
        ("foo: 1", "foo: there is no such key | the keys here are admin"),
        ("<<: {a: 1}", "merging maps is not supported"),
        ("workers: many", "workers: the text \"many\" stands where auto or a number belongs"),
        ("workers: 5000", "5000 workers are more"),
        ("limits: []", "limits: a list stands where a map of keys belongs"),
        ("limits: {max_clients: 0}", "limits.max_clients: 0 would stop everything"),
        ("limits: {max_clients: -1}", "-1 is below zero"),
        ("limits: {max_clients: 1.5}", "the number 1.5 stands where a whole number belongs"),
        ("limits: {max_bulk: 64k}", "has the unknown unit k | write 64kb"),
        ("limits: {max_bulk: 2mb, max_request: 1mb}", "limits.max_request: a command of 1mb could not hold"),
        ("limits: {max_output: 99999999gb}", "more than any machine has"),
        ("near_cache: {max_entry: 1gb}", "near_cache.max_entry: one entry of 1gb would not fit into max_memory, 256mb"),
        ("near_cache: {max_memory: 0}", "near_cache.max_memory: 0 would stop everything"),
        ("near_cache: {ttl: 0s}", "near_cache.ttl: 0s is no time at all"),
        ("near_cache: {ttl: 0}", "0 has no unit | write 0s"),
        ("near_cache: {ttl: }", "near_cache.ttl: the value is missing"),
        ("near_cache: {ttl_jitter: 91%}", "near_cache.ttl_jitter: 91% would let"),
        (
            "near_cache: {snapshot: s}",
            "near_cache.snapshot: snapshot says nothing without warm_start | add warm_start: true",
        ),
        ("near_cache: {warm_start: false, snapshot_interval: 1s}", "snapshot_interval says nothing without warm_start"),
        ("near_cache: {warm_start: maybe, snapshot: s}", "\"maybe\" is not true or false"),
        ("near_cache: {warm_start: true, snapshot_interval: 0s}", "near_cache.snapshot_interval: 0s is no time"),
        (
            "near_cache: {warm_start: true, snapshot: /no/such/place/s}",
            "near_cache.snapshot: /no/such/place cannot hold",
        ),
        ("near_cache: {warm_start: true, snapshot: src}", "near_cache.snapshot: \"src\" is a directory, not a file"),
        (
            "near_cache: {warm_start: true, snapshot: Cargo.toml/s}",
            "Cargo.toml cannot hold the snapshot: it is no directory",
        ),
        ("admin: {address: 0.0.0.0:1}", "admin.address: 0.0.0.0:1 can be reached from other machines"),
        ("admin: {token: \"a b\"}", "admin.token: the token has characters that an HTTP header cannot carry"),
        ("admin: {token_file: rustfmt.toml}", "admin.token_file: rustfmt.toml has more than one line"),
        ("admin: {address: host:1}", "is not an IP address with a port"),
        ("allow_admin: 1", "allow_admin: the number 1 stands where true or false belongs"),
        ("cluster_facade: ye", "\"ye\" is not true or false"),
        ("allow_insecure: yes", "\"yes\" is not true or false"),
        ("routes: [{keys: []}]", "routes[0].keys: the list is empty"),
        ("routes: [{stale: never}]", "routes[0].keys: this key is required and missing"),
        ("routes: [{keys: 'a*'}]", "routes[0].keys: the text \"a*\" stands where a list belongs"),
        ("routes: [{keys: ['[ab]']}]", "has a set of characters"),
        ("routes: [{keys: ['a\\']}]", "ends with a lone backslash"),
        ("routes: [{keys: [a], upstream: other}]", "no upstream named \"other\" | the upstreams are main"),
        ("routes: [{keys: [a], ladder: defualt}]", "no ladder named \"defualt\" | did you mean default?"),
        ("routes: [{keys: [a]}, {keys: [a]}]", "routes[1].keys[0]: the pattern \"a\" is already routes[0].keys[0]"),
        (
            "routes: [{keys: ['a?', a]}, {keys: ['a*']}]",
            "routes[1].keys[0]: the pattern \"a*\" ties with \"a?\", which is routes[0].keys[0]: before its first wildcard each has \"a\" | the longest",
        ),
        ("routes: [{keys: ['a:*:x', 'a:*:y']}]", "routes[0].keys[1]: the pattern \"a:*:y\" ties with \"a:*:x\""),
        ("routes: [{keys: ['*', '*:x']}]", "ties with \"*\", which is routes[0].keys[0]: both begin with a wildcard"),
        ("routes: [{keys: ['a*', 'a**']}]", "the pattern \"a**\" is already routes[0].keys[0]"),
        ("routes: [{keys: ['a', '\\a']}]", "the pattern \"\\a\" is already routes[0].keys[0]"),
        (
            "routes: [{keys: [a], stale: maybe}]",
            "\"maybe\" is not known here | write one of allowed, past-expiry, never",
        ),
        ("routes: [{keys: [a], read_from: replica-preferred}]", "upstream main has no replicas"),
        ("routes: [{keys: [a], cache: {ttl: 0s}}]", "routes[0].cache.ttl: 0s is no time"),
        ("routes: [{keys: [a], cache: {commands: []}}]", "nothing would be cached"),
        ("routes: [{keys: [a], cache: {commands: ['a b']}}]", "commands[0]: \"a b\" is not a command name"),
        ("ladders: {a: []}", "ladders.a: the ladder has no steps"),
        ("ladders: {a: x}", "ladders.a: the text \"x\" stands where a list of steps belongs"),
        ("ladders: {a: [{for: 1s}]}", "ladders.a[0].rung: this key is required and missing"),
        ("ladders: {'a b': [{rung: reject}]}", "\"a b\" is not a name"),
        ("ladders: {a: [{rung: local-only}, {rung: reject}]}", "ladders.a[0].for: local-only does not say how long"),
        ("ladders: {a: [{rung: reject, for: 1s}, {rung: reject}]}", "ladders.a[1].rung: reject is already step [0]"),
        ("ladders: {a: [{rung: reject, max_stale: 1s}]}", "max_stale says nothing about reject"),
        ("ladders: {a: [{rung: reject, timeout: 1s}]}", "timeout says nothing about reject"),
        ("ladders: {a: [{rung: passthrough, timeout: 0s}]}", "ladders.a[0].timeout: 0s is no time"),
    ] {
        let found = faults_with(line);
        assert!(found.len() == 1 && found[0].contains(words), "{line} gave {found:#?}");
        assert!(found[0].starts_with("3:"), "{line} gave {found:#?}");
    }
}

#[test]
fn patterns_that_something_decides_between_stand_side_by_side() {
    for keys in ["'*', a, 'a*', 'a\\*', 'a\\**', 'ab*'", "'user:*', 'user:?:x', 'user:1'"] {
        let text = format!("{SMALLEST}routes: [{{keys: [{keys}]}}]");
        assert_eq!(parse(&text, "t.yaml").is_ok(), keys.starts_with("'*'"), "{keys}");
    }
}

#[test]
fn a_pattern_that_begins_with_a_wildcard_takes_the_place_of_the_one_for_everything() {
    let config = good(&format!("{SMALLEST}routes: [{{keys: ['*:lock'], stale: never}}]"));
    assert_eq!(config.routes.len(), 1);
    assert_eq!(good(&config.to_string()).routes, config.routes);
}

#[test]
fn listeners_are_private_unless_it_is_said_otherwise() {
    let upstreams = "upstreams: {u: {kind: memory}}";
    let open = format!("listeners: [{{address: 0.0.0.0:1}}]\n{upstreams}\n");
    let found = faults(&open);
    assert!(found.len() == 1 && found[0].contains("can be reached from other machines and has no TLS"), "{found:?}");
    good(&format!("{open}allow_insecure: true\n"));
    let admin = format!("listeners: [{{address: 127.0.0.1:9180}}]\n{upstreams}");
    assert!(faults(&admin)[0].contains("listeners[0].address: 127.0.0.1:9180 is also the admin address"));
    let file = file!();
    good(&format!("listeners: [{{address: 0.0.0.0:1, tls: {{cert: {file}, key: {file}}}}}]\n{upstreams}"));

    let twice = format!("listeners: [{{address: 127.0.0.1:1}}, {{address: 127.0.0.1:1}}]\n{upstreams}");
    assert!(faults(&twice)[0].contains("listeners[1].address: 127.0.0.1:1 is already listeners[0]"));
    good(&format!("listeners: [{{address: 127.0.0.1:0}}, {{address: 127.0.0.1:0}}]\n{upstreams}"));
}

#[test]
fn a_warm_start_needs_a_near_cache() {
    let found =
        faults("listeners: [{address: 127.0.0.1:1}]\nupstreams: {u: {kind: memory}}\nnear_cache: {warm_start: true}\n");
    assert!(found.len() == 1 && found[0].contains("near_cache.warm_start: kind memory is answered"), "{found:?}");
}

#[test]
fn several_upstreams_need_routes() {
    let text = "listeners: [{address: 127.0.0.1:1}]\nupstreams: {a: {kind: memory}, b: {kind: memory}}\n";
    let found = faults(text);
    assert!(found.len() == 1 && found[0].contains("there are 2 upstreams (a, b) and no routes"), "{found:?}");
    let found = faults(&format!("{text}routes: [{{keys: ['*']}}]"));
    assert!(found[0].contains("routes[0].upstream: this key is required"), "{found:?}");
}

#[test]
fn a_file_that_is_wrong_throughout_is_reported_up_to_a_bound() {
    let lines: String = (0..2000).map(|n| format!("k{n}: 1\n")).collect();
    let errors = parse(&lines, "t.yaml").unwrap_err();
    assert_eq!(errors.len(), 500);
    assert!(errors.to_string().ends_with("more"));
}
