use super::*;
use crate::config::{Address, Heartbeat};
use crate::upstream::endpoint::Duty;
use std::time::Duration;

fn endpoint(port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        upstream: "main".into(),
        address: Address::Tcp { host: "127.0.0.1".into(), port },
        duty: Duty::Any,
        tls: None,
        credentials: None,
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        heartbeat: Heartbeat { interval: Duration::from_secs(1), timeout: Duration::from_secs(1) },
        dialing: Arc::new(tokio::sync::Semaphore::new(1)),
        speaks: crate::upstream::endpoint::Speaks::Redis,
    })
}

fn endpoints(ports: &[u16]) -> Endpoints {
    ports.iter().map(|port| endpoint(*port)).collect()
}

fn name(text: &str) -> Name {
    Name::from(text.as_bytes())
}

/// Ports of the endpoints at which a name is held, and whether each has confirmed it.
fn homes(circle: &mut Circle, of: &str) -> Vec<(u16, bool)> {
    let mut homes: Vec<_> = {
        let subscription = circle.find(Kind::Channel, of.as_bytes()).expect("it is held");
        subscription.homes.iter().map(|home| (home.link, home.confirmed)).collect()
    };
    homes.sort_unstable();
    let port = |circle: &mut Circle, number| match &circle.link(number).expect("a link").endpoint.address {
        Address::Tcp { port, .. } => *port,
        Address::Unix(_) => 0,
    };
    homes.into_iter().map(|(link, confirmed)| (port(circle, link), confirmed)).collect()
}

#[test]
fn a_name_is_confirmed_when_all_its_endpoints_have_confirmed_it() {
    let (mut circle, mut numbers, mut new) = (Circle::new(0, None), 0, Vec::new());
    let held = circle.hold(Kind::Channel, &name("a"), &endpoints(&[1, 2]), &mut numbers, &mut new);
    assert!(!held.confirmed());
    held.homes[1].confirmed = true;
    assert!(!held.confirmed());
    held.homes[0].confirmed = true;
    assert!(held.confirmed());
    assert_eq!(new.len(), 2, "a connection to each");
    // Another name at one of them needs no further connection.
    circle.hold(Kind::Pattern, &name("p"), &endpoints(&[2]), &mut numbers, &mut new);
    assert_eq!((new.len(), circle.links.len()), (2, 2));
}

#[test]
fn names_move_with_their_endpoints_and_what_stays_is_not_asked_again() {
    let (mut circle, mut numbers, mut new) = (Circle::new(0, None), 0, Vec::new());
    for (of, ports) in [("stays", &[1][..]), ("moves", &[1]), ("grows", &[1])] {
        let held = circle.hold(Kind::Channel, &name(of), &endpoints(ports), &mut numbers, &mut new);
        held.homes.iter_mut().for_each(|home| home.confirmed = true);
    }
    let now = |_: Kind, of: &[u8]| match of {
        b"stays" => endpoints(&[1]),
        b"moves" => endpoints(&[2]),
        _ => endpoints(&[1, 2]),
    };
    circle.rehome(now, &mut numbers, &mut new);
    assert_eq!(homes(&mut circle, "stays"), [(1, true)]);
    assert_eq!(homes(&mut circle, "moves"), [(2, false)]);
    assert_eq!(homes(&mut circle, "grows"), [(1, true), (2, false)]);
    assert_eq!(new.len(), 2);
    // While nobody is known who has it, it stays where it was.
    circle.rehome(|_, _| Endpoints::new(), &mut numbers, &mut new);
    assert_eq!(homes(&mut circle, "moves"), [(2, false)]);
}

#[test]
fn an_endpoint_that_could_not_be_reached_is_not_waited_for_until_it_is_tried_again() {
    let (mut circle, mut numbers, mut new) = (Circle::new(0, None), 0, Vec::new());
    circle.hold(Kind::Channel, &name("a"), &endpoints(&[1]), &mut numbers, &mut new);
    let unreachable = |circle: &Circle, ports: &[u16]| circle.unreachable(Kind::Channel, b"b", &endpoints(ports));
    assert_eq!(unreachable(&circle, &[1]), None);
    circle.links[0].phase = circle::Phase::Down("no".into(), crate::clock::Micros::NEVER);
    assert_eq!(unreachable(&circle, &[1]), Some("no".to_owned()));
    assert_eq!(unreachable(&circle, &[2]), None, "another endpoint");
    circle.links[0].phase = circle::Phase::Down("no".into(), crate::clock::Micros::now());
    assert_eq!(unreachable(&circle, &[1]), None, "its pause is over");
}

#[test]
fn a_list_that_is_under_way_with_a_message_is_not_changed() {
    let (mut circle, mut numbers, mut new) = (Circle::new(0, None), 0, Vec::new());
    let held = circle.hold(Kind::Channel, &name("a"), &Endpoints::new(), &mut numbers, &mut new);
    held.join(3, Member { session: 1, ticket: 10 });
    let sent = Arc::clone(&held.members[0].1);
    held.join(3, Member { session: 2, ticket: 11 });
    assert!(held.leave(3, 10) && !held.leave(3, 10) && !held.leave(4, 11));
    assert_eq!(*sent, [Member { session: 1, ticket: 10 }]);
    assert_eq!(held.count(), 1);
    circle.release(Kind::Channel, &name("a"));
    assert!(circle.find(Kind::Channel, b"a").is_some(), "somebody has it");
    circle.find(Kind::Channel, b"a").map(|held| held.leave(3, 11));
    circle.release(Kind::Channel, &name("a"));
    assert!(circle.empty());
}
