//! Sockets from systemd, and what it is told.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::binary_path;
use larder_integration_tests::metrics::Metrics;
use larder_integration_tests::port;
use larder_integration_tests::process::{Process, Signal};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

fn config(scratch: &Scratch, listen: SocketAddr, admin: SocketAddr) -> PathBuf {
    let file = scratch.file("larder.yaml");
    let text = format!(
        "listeners: [{{address: \"{listen}\"}}]\nadmin: {{address: \"{admin}\"}}\nupstreams: {{main: {{kind: memory}}}}\n"
    );
    fs::write(&file, text).expect("the scratch directory is writable");
    file
}

/// As the service manager starts it when the first client connects.
fn activate(scratch: &Scratch, sockets: &[SocketAddr], config: &PathBuf) -> Option<Process> {
    let mut command = Command::new("systemd-socket-activate");
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        eprintln!("not tested: there is no systemd-socket-activate");
        return None;
    }
    for socket in sockets {
        command.arg("-l").arg(socket.to_string());
    }
    command.arg(binary_path()).arg("--config").arg(config).current_dir(scratch.path());
    let process = Process::spawn("larder", command, scratch.file("larder.log"));
    wait::until("systemd listens", || process.output().contains("Listening on"));
    Some(process)
}

#[test]
fn sockets_of_a_socket_unit_are_used_and_the_client_that_woke_it_is_served() {
    let scratch = Scratch::new("activation");
    let (listen, admin) = (port::free(), port::free());
    let config = config(&scratch, listen, admin);
    let Some(process) = activate(&scratch, &[listen, admin], &config) else { return };
    let mut client = Client::connect(listen);
    assert_eq!(client.say("SET k v"), Reply::ok(), "{}", process.output());
    assert_eq!(Client::connect(listen).say("GET k"), Reply::bulk("v"));
    wait::until("the admin page answers on its socket", || Metrics::scrape(admin).sum("larder_clients") == 1.0);
}

#[test]
fn a_socket_that_nothing_is_configured_for_is_an_error_that_names_it() {
    let scratch = Scratch::new("activation");
    let (listen, other) = (port::free(), port::free());
    let config = config(&scratch, listen, port::free());
    let Some(mut process) = activate(&scratch, &[listen, other], &config) else { return };
    let _client = Client::connect(listen);
    wait::until("the end", || process.exit_status().is_some());
    let output = process.output();
    assert!(
        output.contains(&format!("a socket on {other}, and nothing in the configuration listens there")),
        "{output}"
    );
}

#[test]
fn the_service_manager_is_told_of_the_start_of_life_and_of_the_end() {
    let scratch = Scratch::new("notify");
    let (listen, admin) = (port::free(), port::free());
    let config = config(&scratch, listen, admin);
    let path = scratch.file("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout over zero is accepted");
    let mut command = Command::new(binary_path());
    command.arg("--config").arg(&config).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let mut process = Process::spawn("larder", command, scratch.file("larder.log"));
    let next = || {
        let mut bytes = [0; 1024];
        let count = socket.recv(&mut bytes).expect("something is told");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let ready = next();
    assert!(ready.contains("READY=1") && ready.contains(&format!("MAINPID={}", process.id())), "{ready}");
    assert_eq!(Client::connect(listen).say("PING"), Reply::Simple("PONG".to_owned()), "it serves when it says so");
    for _ in 0..3 {
        assert_eq!(next().trim(), "WATCHDOG=1");
    }
    process.signal(Signal::Hangup);
    let told = |what: &str| wait::until(what, || next().contains(what));
    told("RELOADING=1\nMONOTONIC_USEC=");
    told("READY=1");
    process.signal(Signal::Terminate);
    wait::until("the end is told", || next().trim() == "STOPPING=1");
    wait::until("the end", || process.exit_status().is_some());
}
