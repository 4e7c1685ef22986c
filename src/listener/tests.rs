use super::*;
use crate::config::Config;

/// How many of `clients` are let in that wait in the queue when the door is closed.
async fn let_in(clients: &[&str]) -> usize {
    let assembled = crate::process::assemble(Config::embedded(), "test".to_owned());
    let app = Arc::new(assembled.expect("the embedded configuration is good"));
    let address = config::Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let listener = config::Listener { address, tls: None };
    let listener = bind(0, &listener, &mut Inherited::default()).await.expect("a free port");
    // The kernel alone answers who connects.
    let connected: Vec<_> = clients
        .iter()
        .filter_map(|what| {
            let stream = std::net::TcpStream::connect(&listener.name).expect("it listens");
            if *what == "gone" {
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
            }
            (*what != "gone").then_some(stream)
        })
        .collect();
    let (door, closed) = watch::channel(Door::Closed);
    accept(listener, Arc::clone(&app), closed).await;
    drop((door, connected));
    app.clients.list().len()
}

#[tokio::test]
async fn clients_that_have_connected_are_let_in_when_the_door_is_closed() {
    assert_eq!(let_in(&["waits"; 5]).await, 5);
}

#[tokio::test]
async fn one_that_has_left_again_costs_those_behind_it_nothing() {
    // (Whether the one that has left is counted is nobody's concern: its session ends at once.)
    assert!(let_in(&["waits", "gone", "waits", "waits"]).await >= 3);
    assert!(let_in(&["gone", "gone", "waits"]).await >= 1);
}
