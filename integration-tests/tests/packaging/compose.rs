//! The compose file: what its schema does not say, and what its services would run, on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::program::Program;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;
use serde_yaml::Value;

use crate::{ENDING_SECONDS, parsed, repository, seconds, succeed, text, words};

fn services() -> BTreeMap<String, Value> {
    let file = parsed("docker/compose.yaml");
    let services = file["services"].as_mapping().expect("services").clone();
    services.into_iter().map(|(name, service)| (name.as_str().expect("a name").to_owned(), service)).collect()
}

#[test]
fn every_service_is_bounded_pinned_and_on_loopback() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(!service["logging"]["options"]["max-size"].is_null(), "{name}");
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').expect("a tag").1;
        assert!(!service["build"].is_null() || tag.contains('.'), "{name}: {image} is not pinned");
        for port in service["ports"].as_sequence().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name}: {port:?}");
        }
        for volume in service["volumes"].as_sequence().into_iter().flatten() {
            let source = volume.as_str().expect("the short form").split(':').next().expect("a source");
            let inside = source.strip_prefix("./").map(|path| repository("docker").join(path));
            assert!(inside.is_none_or(|path| path.exists()), "{name}: there is no {source}");
        }
    }
}

#[test]
fn the_larders_have_time_to_drain_and_start_when_their_upstreams_are_there() {
    let services = services();
    let larders: Vec<&Value> =
        services.iter().filter(|(name, _)| name.starts_with("larder-")).map(|(_, of)| of).collect();
    assert_eq!(larders.len(), 2);
    for larder in larders {
        assert!(seconds(larder["stop_grace_period"].as_str().expect("a time")) >= ENDING_SECONDS);
        assert_eq!(larder["depends_on"]["cluster"]["condition"], "service_completed_successfully");
        assert_eq!(larder["depends_on"]["memcached"]["condition"], "service_healthy");
        assert_eq!(words(&larder["volumes"]), ["./compose/larder:/etc/larder:ro"], "where the image's CMD looks");
    }
    for (name, service) in &services {
        for other in service["depends_on"].as_mapping().into_iter().flatten() {
            let other = other.0.as_str().expect("a name");
            assert!(services.contains_key(other), "{name} waits for {other}");
        }
    }
}

#[test]
fn who_watches_is_given_the_addresses_of_whom_it_watches() {
    let services = services();
    let prometheus = parsed("docker/prometheus/prometheus.yaml");
    let job = &prometheus["scrape_configs"][0];
    assert_eq!(job["job_name"], "larder", "the rules ask for it");
    for target in words(&job["static_configs"][0]["targets"]) {
        let (service, port) = target.split_once(':').expect("a port");
        assert!(services.contains_key(service) && service.starts_with("larder-"), "{target}");
        assert!(text("docker/compose/larder/larder.yaml").contains(&format!("0.0.0.0:{port}")), "{target}");
    }
    let at = |service: &str, inside: &str| {
        let volumes = words(&services[service]["volumes"]);
        assert!(volumes.iter().any(|volume| volume.contains(&format!(":{inside}"))), "{service} has no {inside}");
    };
    at("prometheus", "/etc/prometheus");
    assert!(
        words(&services["prometheus"]["command"]).contains(&"--config.file=/etc/prometheus/prometheus.yaml".to_owned())
    );
    at("grafana", "/etc/grafana/provisioning");
    let provider = parsed("docker/grafana/provisioning/dashboards/larder.yaml");
    let folder = provider["providers"][0]["options"]["path"].as_str().expect("a path").to_owned();
    at("grafana", &folder);
    let home =
        services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().expect("a path");
    let file = home.strip_prefix(&format!("{folder}/")).expect("in the folder of dashboards");
    assert!(repository("docker/grafana/dashboards").join(file).exists());
    let source = parsed("docker/grafana/provisioning/datasources/prometheus.yaml");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
}

/// What `cluster` runs, for these servers.
fn create_cluster(nodes: &[Redis]) -> String {
    let entrypoint = words(&services()["cluster"]["entrypoint"]);
    assert_eq!(entrypoint[..2], ["sh", "/usr/local/bin/create-cluster"]);
    assert_eq!(entrypoint.len() - 2, nodes.len());
    let addresses = nodes.iter().map(|node| node.address().to_string());
    succeed(Command::new("sh").arg(repository("docker/compose/create-cluster")).args(addresses))
}

#[test]
fn two_larders_in_front_of_the_cluster_and_memcached_agree() {
    let services = services();
    let command = words(&services["redis-1"]["command"]);
    assert_eq!(command[0], "redis-server");
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let nodes: Vec<Redis> = (0..3).map(|_| Redis::start_with(&args)).collect();
    create_cluster(&nodes);
    assert!(create_cluster(&nodes).contains("is there"), "the second time it does nothing");
    wait::until("every node serves", || {
        nodes.iter().all(|node| node.say("CLUSTER INFO").text().is_some_and(|text| text.contains("cluster_state:ok")))
    });

    let memcached = Memcached::start();
    let mut yaml = text("docker/compose/larder/larder.yaml");
    let mut replace = |theirs: &str, ours: &str| {
        assert!(yaml.contains(theirs), "no {theirs} in\n{yaml}");
        yaml = yaml.replace(theirs, ours);
    };
    for (number, node) in nodes.iter().enumerate() {
        replace(&format!("redis-{}:6379", number + 1), &node.address().to_string());
    }
    replace("memcached:11211", &memcached.address().to_string());
    replace("0.0.0.0:6380", "127.0.0.1:0");
    replace("0.0.0.0:9180", "127.0.0.1:0");
    let scratch = Scratch::new("compose");
    let file = scratch.file("larder.yaml");
    fs::write(&file, yaml).expect("the scratch directory is writable");
    let start = || Program::start(&["--config", &file.display().to_string()]);
    let (first, second) = (start(), start());
    let (mut one, mut other) = (first.connect(), second.connect());

    for key in ["greeting", "lock:1", "page:1"] {
        wait::until("the upstream is served", || one.say(&format!("SET {key} old")) == Reply::ok());
        assert_eq!(other.say(&format!("GET {key}")), Reply::bulk("old"));
        assert_eq!(one.say(&format!("SET {key} new")), Reply::ok());
        wait::until("what one has written, the other one reads", || {
            other.say(&format!("GET {key}")) == Reply::bulk("new")
        });
    }
    assert_eq!(memcached.connect().get("page:1").map(|(_, value)| value), Some("new".to_owned()));
    let explained = other
        .say("LARDER EXPLAIN GET lock:1")
        .items()
        .expect("lines")
        .iter()
        .filter_map(Reply::text)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(explained.contains("route of lock:1: lock:*"), "{explained}");
}
