//! Nodes that are killed, stopped, and come back, with a steady client for each: only the keys of a dead node degrade, nobody
//! takes them over, and nothing old is shown as new afterwards. A line is printed for each node; `-- --nocapture` shows it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::Client;
use larder_integration_tests::cutter::Cutter;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::standing;
use larder_integration_tests::steady::report::{Errors, Report};
use larder_integration_tests::steady::{Keys, Kind, Steady};
use larder_integration_tests::wait;

use crate::{addresses, on_each, start_many, value};

const NODES: usize = 5;
const RUNG: &str = "stale-read-only";
/// The longest wait for a reply.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// The stated bound on how old a read may be where nobody tells of changes, and a little for a look at the clock.
const TTL: Duration = Duration::from_millis(500);
const SLACK: Duration = Duration::from_millis(50);
/// How long nothing but the steady clients happens before and after a fault.
const QUIET: Duration = Duration::from_millis(300);
/// How long a fault lasts after it was noticed: longer than entries live.
const LASTS: Duration = Duration::from_millis(1200);
/// Any machine has managed by then.
const GENEROUS: Duration = Duration::from_secs(10);

/// Quick to notice and to return.
fn quick(settings: Settings) -> Settings {
    settings
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}")
        .upstream("connect_timeout: 500ms")
        .upstream(&format!("command_timeout: {}ms", COMMAND_TIMEOUT.as_millis()))
        .upstream("breaker: {reset_timeout: 2s}")
        .upstream("health_check: {interval: 200ms, timeout: 500ms}")
        .section(&format!("near_cache: {{untracked_ttl: {}ms}}", TTL.as_millis()))
        // Entries live so short here that local-only would soon have no answer.
        .section("ladders: {default: [{rung: stale-read-only}]}")
}

struct Rig {
    larder: Larder,
    nodes: Vec<Memcached>,
    /// For each node, keys that lie on it, and one more that no steady client asks for.
    keys: Vec<Keys>,
    spare: Vec<String>,
}

impl Rig {
    fn start() -> Self {
        let nodes = start_many(NODES);
        let larder = Larder::start_with(&quick(Settings::memcached(&addresses(&nodes))));
        let (keys, spare) = (0..NODES).map(|node| keys_on(&larder, &nodes[node])).unzip();
        Self { larder, nodes, keys, spare }
    }

    fn all_keys(&self) -> Vec<String> {
        let of = |keys: &Keys| [&keys.cached[..], &[keys.uncached.clone(), keys.counter.clone()]].concat();
        self.keys.iter().flat_map(of).chain(self.spare.iter().cloned()).collect()
    }
}

/// Keys of which the node is the owner; it is left without them.
fn keys_on(larder: &Larder, node: &Memcached) -> (Keys, String) {
    let (mut client, mut text) = (larder.connect(), node.connect());
    let mut found = Vec::new();
    for number in 0.. {
        let key = format!("key:{number}:{}", node.address().port());
        assert_eq!(client.call(&["SET", &key, "probe"]), Reply::ok());
        if text.get(&key).is_some() {
            found.push(key.clone());
        }
        assert_eq!(client.call(&["DEL", &key]), Reply::Integer(1));
        if found.len() == 13 {
            break;
        }
    }
    let [uncached, counter, spare] =
        [found.pop(), found.pop(), found.pop()].map(|key| key.expect("thirteen were found"));
    (Keys { cached: found, uncached, counter }, spare)
}

/// What is done to the nodes, and undone.
struct Fault {
    name: &'static str,
    /// How many nodes it meets, the first ones.
    nodes: usize,
    begin: fn(&mut Memcached),
    end: fn(&mut Memcached),
    /// What they had is gone.
    loses: bool,
}

/// Does it under load. What each node's client saw, in the order of the nodes.
fn suffer(rig: &mut Rig, fault: &Fault) -> Vec<Report> {
    let mut writer = rig.larder.connect();
    rig.keys.iter().for_each(|keys| keys.write(&mut writer, 1));
    let start = |keys: &Keys| Steady::start(rig.larder.address(), keys.clone(), TTL + SLACK);
    let steadies: Vec<_> = rig.keys.iter().map(start).collect();
    thread::sleep(QUIET);

    let began = Instant::now();
    // All at once: it may take a busy machine long to bury a process.
    thread::scope(|scope| {
        for (node, steady) in rig.nodes.iter_mut().zip(&steadies).take(fault.nodes) {
            scope.spawn(move || (fault.begin)(node));
            if fault.loses {
                steady.lose();
            }
        }
    });
    let met: Vec<String> = rig.nodes.iter().take(fault.nodes).map(|node| node.address().to_string()).collect();
    standing::wait_for_rung(&rig.larder, RUNG, |of| met.iter().any(|address| of.endpoint() == address));
    thread::sleep(LASTS);
    assert_writes_are_refused(rig, &met);
    // The others change meanwhile, behind Larder's back, and are seen to within the stated time.
    for ((node, steady), keys) in rig.nodes.iter().zip(&steadies).zip(&rig.keys).skip(fault.nodes) {
        let mut text = node.connect();
        keys.cached.iter().for_each(|key| text.set(key, 0, 0, "v2"));
        steady.changed(2);
    }
    thread::sleep(QUIET);
    let ended = Instant::now();
    for (node, steady) in rig.nodes.iter_mut().zip(&steadies).take(fault.nodes) {
        if fault.loses {
            steady.lose();
        }
        (fault.end)(node);
    }
    standing::wait_for_normal(&rig.larder);
    // What is written to them now is seen within the stated time.
    for ((node, steady), keys) in rig.nodes.iter().zip(&steadies).zip(&rig.keys).take(fault.nodes) {
        let mut text = node.connect();
        keys.cached.iter().for_each(|key| text.set(key, 0, 0, "v2"));
        steady.changed(2);
    }
    thread::sleep(TTL + SLACK + QUIET);
    let judge = |(steady, node): (Steady, &Memcached)| {
        let address = node.address().to_string();
        Report::of(fault.name, &steady.finish(), (began, ended), |of| of.endpoint() == address)
    };
    let reports: Vec<_> = steadies.into_iter().zip(&rig.nodes).map(judge).collect();
    eprintln!("{}", Report::heading());
    reports.iter().for_each(|report| eprintln!("{report}"));
    reports
}

/// Those to the nodes that are gone, in words that name them; all others are carried out.
fn assert_writes_are_refused(rig: &Rig, met: &[String]) {
    let mut client = rig.larder.connect();
    for (key, node) in rig.spare.iter().zip(&rig.nodes) {
        let address = node.address().to_string();
        if met.contains(&address) {
            for command in [vec!["SET", key, "x"], vec!["DEL", key], vec!["INCR", key], vec!["MSET", key, "x"]] {
                let reply = client.call(&command);
                let text = reply.error().unwrap_or_else(|| panic!("{command:?}: {reply:?}"));
                assert!(text.starts_with("READONLY ") && text.contains(&address), "{command:?}: {text}");
            }
        } else {
            assert_eq!(client.call(&["SET", key, "x"]), Reply::ok());
            assert_eq!(client.call(&["DEL", key]), Reply::Integer(1));
        }
    }
}

fn judge(rig: &Rig, fault: &Fault, reports: &[Report]) {
    for (number, report) in reports.iter().enumerate() {
        assert_eq!(report.wrong, Vec::<String>::new(), "node {number}: {report}");
        assert!(report.slowest < COMMAND_TIMEOUT + Duration::from_secs(1), "node {number}: something hung: {report}");
        if number >= fault.nodes {
            for kind in Kind::ALL {
                assert_eq!(report.errors(kind), Errors::default(), "node {number} was well: {report}");
            }
            assert!(report.history.iter().all(|(_, words)| words == "closed:normal"), "node {number}: {report}");
            continue;
        }
        assert_eq!(report.cached_errors, Vec::<String>::new(), "node {number}, once it was noticed: {report}");
        assert!(report.noticed.is_some_and(|time| time < GENEROUS), "node {number}: {report}");
        assert!(report.recovered.is_some_and(|time| time < GENEROUS), "node {number}: {report}");
        assert!(report.stale > 0, "node {number}: nothing was answered from the cache: {report}");
        assert!(report.errors(Kind::Write).noticed > 0, "node {number}: writes were not refused: {report}");
    }
    on_each(&rig.nodes, &rig.all_keys());
}

fn show(fault: &Fault) {
    let mut rig = Rig::start();
    let reports = suffer(&mut rig, fault);
    judge(&rig, fault, &reports);
}

#[test]
fn a_node_that_is_killed_and_returns_empty_costs_the_others_nothing() {
    show(&Fault { name: "kill one of five", nodes: 1, begin: Memcached::kill, end: Memcached::restart, loses: true });
}

#[test]
fn a_majority_that_is_killed_and_returns_empty_costs_the_others_nothing() {
    show(&Fault { name: "kill three of five", nodes: 3, begin: Memcached::kill, end: Memcached::restart, loses: true });
}

#[test]
fn a_node_that_is_stopped_and_goes_on_with_what_it_had_shows_nothing_old_as_new_t46() {
    let fault = Fault {
        name: "stop one of five",
        nodes: 1,
        begin: |node| node.freeze(),
        end: |node| node.thaw(),
        loses: false,
    };
    show(&fault);
}

/// A Larder over these nodes, where they are reached at other addresses than they are known by.
fn larder_at(nodes: &[Memcached], addresses: &[SocketAddr]) -> Larder {
    let name = |(node, address): (&Memcached, &SocketAddr)| format!("\"{address}\": \"{}\"", node.address());
    let names: Vec<_> = nodes.iter().zip(addresses).map(name).collect();
    let settings = Settings::memcached(addresses).upstream(&format!("ring: {{names: {{{}}}}}", names.join(", ")));
    Larder::start_with(&quick(settings))
}

#[test]
fn two_larders_that_see_a_node_differently_never_write_a_key_to_two_nodes_t46() {
    let nodes = start_many(3);
    let cutter = Cutter::start(nodes[0].address());
    let direct = addresses(&nodes);
    let cut = [cutter.address(), direct[1], direct[2]];
    let (sees, sees_not) = (larder_at(&nodes, &direct), larder_at(&nodes, &cut));
    cutter.refuse();
    let gone = cutter.address().to_string();
    standing::wait_for_rung(&sees_not, RUNG, |of| of.endpoint() == gone);

    let keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
    let (mut one, mut two): (Client, Client) = (sees.connect(), sees_not.connect());
    let mut refused = 0;
    for key in &keys {
        let reply = two.call(&["SET", key, "from the one that does not see it"]);
        if reply != Reply::ok() {
            assert!(reply.error().is_some_and(|text| text.starts_with("READONLY ")), "{reply:?}");
            refused += 1;
        }
        assert_eq!(one.call(&["SET", key, "from the one that sees it"]), Reply::ok());
    }
    let shares = on_each(&nodes, &keys);
    assert_eq!(shares.iter().sum::<usize>(), 300);
    assert_eq!(shares[0], refused, "what was refused is what lies on the node that was not seen");
    assert!(refused > 30);

    cutter.heal();
    cutter.admit();
    standing::wait_for_normal(&sees_not);
    for key in &keys {
        wait::until("the newest value, once what was cached has ended", || {
            two.call(&["GET", key]) == Reply::bulk("from the one that sees it")
        });
    }
}

#[test]
fn commands_of_several_keys_that_need_a_dead_node_are_refused_before_any_part_is_sent() {
    let mut rig = Rig::start();
    let mut client = rig.larder.connect();
    let (dead, live) = (rig.keys[0].cached.clone(), rig.keys[1].cached.clone());
    for key in dead.iter().chain(&live) {
        assert_eq!(client.call(&["SET", key, "old"]), Reply::ok());
        assert_eq!(client.call(&["GET", key]), Reply::bulk("old"));
    }
    rig.nodes[0].kill();
    let address = rig.nodes[0].address().to_string();
    standing::wait_for_rung(&rig.larder, RUNG, |of| of.endpoint() == address);

    let reply = client.call(&["MGET", &live[0], &dead[0], &live[1]]);
    assert_eq!(reply, Reply::Array(vec![Reply::bulk("old"); 3]), "the dead node's part comes from the cache");
    let refused = |reply: Reply, code: &str| {
        assert!(reply.error().is_some_and(|text| text.starts_with(code) && text.contains(&address)), "{reply:?}");
    };
    refused(client.call(&["MGET", &live[0], &rig.keys[0].uncached]), "MASTERDOWN ");
    refused(client.call(&["MSET", &live[0], "new", &dead[1], "new"]), "READONLY ");
    refused(client.call(&["DEL", &live[1], &dead[2]]), "READONLY ");
    assert_eq!(value(&rig.nodes[1], &live[0]), Some("old".to_owned()), "half of a MSET was carried out");
    assert_eq!(value(&rig.nodes[1], &live[1]), Some("old".to_owned()), "half of a DEL was carried out");
    refused(client.call(&["FLUSHALL"]), "READONLY ");
    assert_eq!(value(&rig.nodes[1], &live[0]), Some("old".to_owned()), "a part of a FLUSHALL was carried out");
}
