//! What has the configuration read again, and from where.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use larder_integration_tests::certificates::Certificates;
use larder_integration_tests::larder::{Larder, Settings, binary_path};
use larder_integration_tests::port;
use larder_integration_tests::process::{Process, Signal};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

fn most_clients(larder: &Larder) -> String {
    let info = larder.say("INFO clients").text().expect("text");
    let line = info.lines().find_map(|line| line.strip_prefix("maxclients:")).expect("it is there");
    line.to_owned()
}

fn with(origin: &Redis, most: u32) -> Settings {
    Settings::new(origin.address()).section(&format!("limits: {{max_clients: {most}}}"))
}

#[test]
fn a_file_that_changes_is_read_again_however_it_is_written() {
    let origin = Redis::start();
    let larder = Larder::start_with(&with(&origin, 50));
    // Another file takes its place.
    larder.rewrite(&larder.yaml(&with(&origin, 51)));
    wait::until("the new file is taken", || most_clients(&larder) == "51");
    // It is written in place.
    fs::write(larder.config_file(), larder.yaml(&with(&origin, 52))).expect("it is writable");
    wait::until("what was written is taken", || most_clients(&larder) == "52");
    // It goes, and comes back.
    fs::remove_file(larder.config_file()).expect("it is there");
    wait::until("that it is gone is told", || larder.metrics().sum("larder_config_stale") == 1.0);
    larder.rewrite(&larder.yaml(&with(&origin, 53)));
    wait::until("the new file is taken", || most_clients(&larder) == "53");
}

#[test]
fn a_mounted_directory_that_is_swapped_is_noticed() {
    // As Kubernetes mounts a ConfigMap: the file is a link into ..data, which is a link to a directory; another directory takes its place.
    let origin = Redis::start();
    let scratch = Scratch::new("configmap");
    let (address, admin) = (port::free(), port::free());
    let write = |directory: &str, most: u32| {
        fs::create_dir(scratch.file(directory)).expect("a directory can be made");
        let text = format!(
            "admin: {{address: \"{admin}\"}}\nlisteners: [{{address: \"{address}\"}}]\nlimits: {{max_clients: {most}}}\n\
             upstreams: {{main: {{kind: redis, endpoints: [\"{}\"]}}}}\n",
            origin.address()
        );
        fs::write(scratch.file(directory).join("larder.yaml"), text).expect("it is writable");
    };
    write("..1", 61);
    symlink("..1", scratch.file("..data")).expect("a link can be made");
    symlink("..data/larder.yaml", scratch.file("larder.yaml")).expect("a link can be made");
    let mut command = Command::new(binary_path());
    command.arg("--config").arg(scratch.file("larder.yaml"));
    let process = Process::spawn("larder", command, scratch.file("larder.log"));
    let most = || {
        let mut client = larder_integration_tests::client::Client::try_connect(address).ok()?;
        client.try_call(&["INFO", "clients"]).ok()?.text()
    };
    let is = |number: &str| most().is_some_and(|info| info.contains(&format!("maxclients:{number}\r\n")));
    wait::until("it serves", || is("61"));
    for (directory, number) in [("..2", 62), ("..3", 63)] {
        write(directory, number);
        symlink(directory, scratch.file("..data_new")).expect("a link can be made");
        fs::rename(scratch.file("..data_new"), scratch.file("..data")).expect("a link can be renamed");
        wait::until("the swap is noticed", || is(&number.to_string()));
    }
    drop(process);
}

#[test]
fn a_certificate_that_is_renewed_is_shown_to_new_clients() {
    let (origin, certificates, scratch) = (Redis::start(), Certificates::new(), Scratch::new("site"));
    let install = |name: &str| {
        for (from, to) in [(certificates.cert(name), "site.crt"), (certificates.key(name), "site.key")] {
            fs::copy(from, scratch.file(to)).expect("it is writable");
        }
    };
    install("server");
    let address = port::free();
    let (cert, key) = (scratch.file("site.crt"), scratch.file("site.key"));
    let tls = format!("{{address: \"{address}\", tls: {{cert: {}, key: {}}}}}", cert.display(), key.display());
    let larder = Larder::start_with(&Settings::new(origin.address()).listener(&tls));
    let subject = || {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string()]).stdin(Stdio::null());
        let output = command.output().expect("openssl is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or_default().replace(' ', "")
    };
    assert_eq!(subject(), "CN=server");
    let mut client = larder.connect();
    install("named");
    wait::until("the new certificate is shown", || subject() == "CN=named");
    assert_eq!(client.say("PING").text().as_deref(), Some("PONG"), "clients stay connected");
    // A key that is not the certificate's: the last good pair is shown on.
    fs::copy(certificates.key("server"), scratch.file("site.key")).expect("it is writable");
    wait::until("it is refused", || larder.metrics().sum("larder_config_stale") == 1.0);
    assert_eq!(subject(), "CN=named");
}

#[test]
fn a_file_that_is_not_watched_is_read_when_told_to() {
    let origin = Redis::start();
    let off = |most| with(&origin, most).section("reload_on_change: false");
    let larder = Larder::start_with(&off(50));
    larder.rewrite(&larder.yaml(&off(51)));
    let count = || larder.metrics().sum("larder_config_reloads_total");
    assert!(!wait::holds_within(std::time::Duration::from_millis(800), || count() > 0.0), "nobody has asked");
    assert!(larder.reload());
    assert_eq!(most_clients(&larder), "51");
}

#[test]
fn without_a_file_there_is_nothing_to_be_read_again_and_the_process_goes_on() {
    let scratch = Scratch::new("no-file");
    let (address, admin) = (port::free().to_string(), port::free());
    let mut command = Command::new(binary_path());
    command.args(["--listen", &address, "--admin", &admin.to_string()]).current_dir(scratch.path());
    let mut process = Process::spawn("larder", command, scratch.file("larder.log"));
    wait::until("it serves", || process.output().contains("listening"));
    process.signal(Signal::Hangup);
    wait::until("it says why not", || process.output().contains("there is no file to be read again"));
    assert_eq!(process.exit_status(), None);
}
