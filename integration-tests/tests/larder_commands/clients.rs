//! CLIENT across two workers: who is connected, who is to go, and what cannot be had.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

fn two_workers(origin: SocketAddr) -> Larder {
    Larder::start_with(&Settings::new(origin).section("workers: 2"))
}

/// The clients of CLIENT LIST, each as its fields.
fn listed(client: &mut Client, words: &str) -> Vec<BTreeMap<String, String>> {
    let text = client.say(words).text().expect("text");
    let fields = |line: &str| {
        let fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    // In RESP3 the text comes with its format.
    text.trim_start_matches("txt:").lines().map(fields).collect()
}

fn id(client: &mut Client) -> String {
    client.say("CLIENT ID").integer().expect("a number").to_string()
}

#[test]
fn clients_of_all_workers_are_listed_as_they_describe_themselves() {
    let origin = Redis::start();
    let larder = two_workers(origin.address());
    let mut clients: Vec<Client> = (0..6).map(|_| larder.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let name = format!("client-{n}");
        assert_eq!(client.call(&["CLIENT", "SETNAME", &name]), Reply::ok());
        assert_eq!(client.say("CLIENT SETINFO LIB-NAME test-lib"), Reply::ok());
        assert_eq!(client.say("CLIENT SETINFO lib-ver 1.2"), Reply::ok());
        assert_eq!(client.call(&["SELECT", &n.to_string()]), Reply::ok());
    }
    clients[1].say("HELLO 3");
    clients[2].say("CLIENT NO-EVICT on");
    clients[3].say("CLIENT NO-TOUCH on");
    let ids: Vec<String> = clients.iter_mut().map(id).collect();
    for asking in [0, 1] {
        let list = listed(&mut clients[asking], "CLIENT LIST");
        for (n, own) in ids.iter().enumerate() {
            let found = list.iter().find(|fields| fields["id"] == *own).expect("it is listed");
            for (field, value) in [
                ("name", format!("client-{n}")),
                ("lib-name", "test-lib".to_owned()),
                ("lib-ver", "1.2".to_owned()),
                ("db", n.to_string()),
                ("resp", if n == 1 { "3" } else { "2" }.to_owned()),
                ("flags", ["N", "N", "e", "T", "N", "N"][n].to_owned()),
                ("laddr", larder.address().to_string()),
                ("user", "default".to_owned()),
            ] {
                assert_eq!(found[field], value, "{field} of client {n}");
            }
            let local = clients[n].stream().local_addr().expect("connected").to_string();
            assert_eq!(found["addr"], local);
        }
        assert_eq!(list.len(), ids.len());
    }
    let two = listed(&mut clients[0], &format!("CLIENT LIST ID {} {}", ids[4], ids[2]));
    assert_eq!(two.iter().map(|fields| &fields["id"]).collect::<Vec<_>>(), [&ids[4], &ids[2]]);
    let own = listed(&mut clients[5], "CLIENT INFO");
    assert_eq!((own.len(), &own[0]["id"], &*own[0]["cmd"]), (1, &ids[5], "client|info"));
    assert_eq!(listed(&mut clients[0], "CLIENT LIST TYPE pubsub").len(), 0);
    drop(clients);
    let mut last = larder.connect();
    wait::until("those who left are not listed", || listed(&mut last, "CLIENT LIST").len() == 1);
}

#[test]
fn kill_closes_clients_of_either_worker_and_spares_the_others() {
    let origin = Redis::start();
    let larder = two_workers(origin.address());
    let mut killer = larder.connect();
    for _ in 0..4 {
        let mut victims: Vec<Client> = (0..4).map(|_| larder.connect()).collect();
        let mut bystander = larder.connect();
        bystander.say("PING");
        let ids: Vec<String> = victims.iter_mut().map(id).collect();
        let address = victims[1].stream().local_addr().expect("connected").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", "ID", &ids[0]]), Reply::Integer(1));
        assert_eq!(killer.call(&["CLIENT", "KILL", &address]), Reply::ok());
        let address = victims[2].stream().local_addr().expect("connected").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", "ADDR", &address, "TYPE", "normal"]), Reply::Integer(1));
        for victim in &mut victims[..3] {
            assert!(victim.read_to_close().is_ok_and(|rest| rest.is_empty()), "closed, and nothing sent before");
        }
        let left = listed(&mut killer, "CLIENT LIST");
        assert!(left.iter().all(|fields| !ids[..3].contains(&fields["id"])), "{left:?}");
        assert_eq!(victims[3].say("PING"), Reply::Simple("PONG".to_owned()));
        assert_eq!(bystander.say("PING"), Reply::Simple("PONG".to_owned()));
    }
    assert_eq!(killer.say("CLIENT KILL ID 99999"), Reply::Integer(0));
    assert_eq!(killer.say("CLIENT KILL 127.0.0.1:1").error(), origin.say("CLIENT KILL 127.0.0.1:1").error());
    // Everybody but the one who asks, and at last that one too.
    let mut other = larder.connect();
    other.say("PING");
    assert!(killer.say("CLIENT KILL TYPE normal").integer().is_some_and(|count| count >= 1));
    assert!(other.read_to_close().is_ok());
    assert_eq!(killer.say("CLIENT KILL SKIPME no"), Reply::Integer(1));
    assert!(killer.read_to_close().is_ok());
}

#[test]
fn clients_whose_command_blocks_are_counted_and_marked() {
    let origin = Redis::start();
    let larder = two_workers(origin.address());
    let mut waiting: Vec<Client> = (0..3).map(|_| larder.connect()).collect();
    for client in &mut waiting {
        client.send(&["BLPOP", "queue", "0"]).expect("sent");
    }
    let mut observer = larder.connect();
    let mut counted = |number: usize| {
        let info = observer.say("INFO clients").text().unwrap_or_default();
        let marked = listed(&mut observer, "CLIENT LIST").iter().filter(|fields| fields["flags"].contains('b')).count();
        info.contains(&format!("blocked_clients:{number}\r\n")) && marked == number
    };
    wait::until("three are blocked", || counted(3));
    assert_eq!(origin.say("RPUSH queue a"), Reply::Integer(1));
    wait::until("two are left", || counted(2));
    drop(waiting);
    wait::until("none is left", || counted(0));
}

#[test]
fn what_larder_cannot_do_for_a_client_is_refused_in_words() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for (command, words) in [
        ("CLIENT PAUSE 10", "Larder does not serve CLIENT PAUSE"),
        ("CLIENT UNPAUSE", "CLIENT UNPAUSE"),
        ("CLIENT CACHING yes", "tracking mode"),
        ("CLIENT NOSUCH", "unknown subcommand 'NOSUCH'"),
        ("CLIENT SETINFO nothing x", "Unrecognized option 'nothing'"),
        ("CLIENT NO-TOUCH perhaps", "syntax error"),
    ] {
        let reply = larder.say(command);
        assert!(reply.error().is_some_and(|error| error.contains(words)), "{command}: {reply:?}");
    }
    assert_eq!(larder.say("CLIENT TRACKING off"), Reply::ok(), "off it is");
    assert_eq!(origin.say("PING"), Reply::Simple("PONG".to_owned()));
}
