//! Keys and values as other clients of the node see them.

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;

use super::{NO_CACHE, uncached};

#[test]
fn other_clients_read_what_larder_wrote_and_the_other_way_round() {
    let (node, larder) = uncached();
    let (mut client, mut other) = (larder.connect(), node.connect());
    client.say("SET mine hello EX 100");
    assert_eq!(other.get("mine"), Some((0, "hello".to_owned())));
    assert!(other.ttl("mine").is_some_and(|left| (98..=100).contains(&left)));
    other.set("theirs", 42, 0, "world");
    assert_eq!(client.say("GET theirs").text().as_deref(), Some("world"));
    assert_eq!(client.say("TTL theirs").integer(), Some(-1));
    other.set("count", 0, 0, "7 ");
    assert!(client.say("INCR count").error().is_some(), "Redis takes no number with a space behind it");
}

#[test]
fn a_value_that_is_changed_keeps_the_flags_that_its_owner_gave_it() {
    let (node, larder) = uncached();
    let (mut client, mut other) = (larder.connect(), node.connect());
    for (command, value) in [
        ("APPEND k 5", "105"),
        ("INCR k", "11"),
        ("DECR k", "9"),
        ("INCRBY k -20", "-10"),
        ("INCRBYFLOAT k 0.5", "10.5"),
        ("SET k x KEEPTTL", "x"),
    ] {
        other.set("k", 42, 100, "10");
        client.say(command);
        assert_eq!(other.get("k"), Some((42, value.to_owned())), "{command}");
        assert!(other.ttl("k").is_some_and(|left| (97..=100).contains(&left)), "{command}");
    }
    client.say("SET k plain");
    assert_eq!(other.get("k"), Some((0, "plain".to_owned())));
}

#[test]
fn keys_that_memcached_would_not_take_are_kept_apart_and_harm_nobody() {
    let (node, larder) = uncached();
    let mut client = larder.connect();
    let odd: Vec<Vec<u8>> = vec![
        b"with space".to_vec(),
        b"line\r\nflush_all\r\n".to_vec(),
        b"tab\t".to_vec(),
        b"\0".to_vec(),
        Vec::new(),
        vec![b' '; 186],
        vec![b' '; 187],
        vec![b'k'; 250],
        vec![b'k'; 251],
        vec![b'k'; 100_000],
        b"ascii".to_vec(),
        "schl\u{fc}ssel".as_bytes().to_vec(),
    ];
    for (number, key) in odd.iter().enumerate() {
        let value = number.to_string();
        assert_eq!(client.call(&[b"SET", &key[..], value.as_bytes()]).text().as_deref(), Some("OK"), "{number}");
    }
    for (number, key) in odd.iter().enumerate() {
        assert_eq!(client.call(&[b"GET", &key[..]]).text(), Some(number.to_string()));
    }
    let keys: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(odd.iter().map(|key| &key[..])).collect();
    let all: Vec<_> = client.call(&keys).items().expect("values").iter().map(|item| item.text()).collect();
    assert_eq!(all, (0..odd.len()).map(|number| Some(number.to_string())).collect::<Vec<_>>());
    assert_eq!(node.connect().stat("curr_items"), odd.len() as u64);
    assert_eq!(node.connect().say("mg d2l0aCBzcGFjZQ== b v").split(' ').next(), Some("VA"));
}

#[test]
fn values_come_back_whole_up_to_the_items_limit_and_beyond_it_the_error_says_so() {
    let node = Memcached::start_with(&["-I", "4m", "-m", "128"]);
    for section in [NO_CACHE, ""] {
        let larder = Larder::start_with(&Settings::memcached(&[node.address()]).section(section));
        let mut client = larder.connect();
        for size in [0, 1, 65_536, 1 << 20, 4_000_000] {
            let value: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
            assert_eq!(client.call(&[&b"SET"[..], b"k", &value]).text().as_deref(), Some("OK"), "{size}");
            client.send(&["GET", "k"]).expect("sent");
            let (_, bytes) = client.try_read().expect("a reply");
            assert!(bytes.ends_with(&[&value[..], b"\r\n"].concat()), "{size}");
            assert_eq!(client.say("STRLEN k").integer(), i64::try_from(size).ok());
        }
        let refused = client.call(&[&b"SET"[..], b"k", &vec![b'x'; 5 << 20]]);
        let address = node.address().to_string();
        let text = refused.error().expect("too large");
        assert!(text.contains("item limit (-I)") && text.contains(&address), "{text}");
        assert_eq!(client.say("PING").text().as_deref(), Some("PONG"));
        assert_eq!(client.say("SET k small").text().as_deref(), Some("OK"));
    }
}

#[test]
fn what_does_not_fit_behind_a_value_is_not_appended_and_the_error_says_why() {
    let (node, larder) = uncached();
    let mut client = larder.connect();
    let most = vec![b'x'; 1_000_000];
    assert_eq!(client.call(&[&b"SET"[..], b"k", &most]).text().as_deref(), Some("OK"));
    let before = node.connect().stat("cmd_get");
    let refused = client.call(&[&b"APPEND"[..], b"k", &most]);
    let text = refused.error().expect("too large");
    assert!(text.contains("item limit (-I)") && text.contains("as it was"), "{text}");
    assert!(node.connect().stat("cmd_get") - before < 5, "nobody else has changed it");
    assert_eq!(client.say("STRLEN k").integer(), Some(1_000_000));
    assert_eq!(client.say("APPEND k y").integer(), Some(1_000_001));
}

#[test]
fn a_node_without_room_says_oom() {
    let node = Memcached::start_with(&["-M", "-m", "8"]);
    let larder = Larder::start_with(&Settings::memcached(&[node.address()]).section(NO_CACHE));
    let mut client = larder.connect();
    let value = vec![b'x'; 500_000];
    let refused = (0..100).find_map(|number: u32| {
        let key = number.to_string();
        client.call(&[b"SET", key.as_bytes(), &value[..]]).error().map(str::to_owned)
    });
    let text = refused.expect("8 MB are full");
    assert!(text.starts_with("OOM ") && text.contains(&node.address().to_string()), "{text}");
}
