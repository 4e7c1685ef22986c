//! The Kubernetes manifests: what schemas do not say, and the configuration in them.

use std::fs;

use larder_integration_tests::metrics::http;
use larder_integration_tests::program::Program;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::scratch::Scratch;
use serde_yaml::Value;

use crate::{ENDING_SECONDS, parsed, words};

fn pod() -> Value {
    parsed("docker/kubernetes/deployment.yaml")["spec"]["template"]["spec"].clone()
}

fn sidecar() -> Value {
    pod()["initContainers"][0].clone()
}

#[test]
fn larder_starts_before_the_application_and_ends_after_it() {
    let (pod, sidecar) = (pod(), sidecar());
    assert_eq!(sidecar["restartPolicy"], "Always", "a native sidecar");
    assert!(sidecar["startupProbe"].is_mapping(), "the application waits for it");
    // Hooks of all containers run when the pod begins to end, while the application still writes.
    assert!(sidecar["lifecycle"].is_null(), "a preStop here would drain under the application");
    let application = &pod["containers"][0];
    let pause = application["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a preStop");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
    assert!(grace >= pause + ENDING_SECONDS, "{grace} s");
}

#[test]
fn nothing_runs_as_root_or_may_become_it() {
    let pod = pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let containers = pod["containers"].as_sequence().expect("containers").iter();
    for container in containers.chain(pod["initContainers"].as_sequence().expect("sidecars")) {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(words(&context["capabilities"]["drop"]), ["ALL"]);
        assert!(!container["resources"]["limits"]["memory"].is_null());
        assert!(!container["image"].as_str().expect("an image").ends_with(":latest"));
    }
}

#[test]
fn configuration_and_secret_are_mounted_as_directories_where_they_are_looked_for() {
    let (pod, sidecar) = (pod(), sidecar());
    let mounts = sidecar["volumeMounts"].as_sequence().expect("mounts");
    assert!(mounts.iter().all(|mount| mount["subPath"].is_null()), "a file that is mounted alone never changes");
    let folder = |name: &str| {
        let volumes = pod["volumes"].as_sequence().expect("volumes");
        let volume =
            volumes.iter().find(|volume| volume["configMap"]["name"] == name || volume["secret"]["secretName"] == name);
        let volume = volume.unwrap_or_else(|| panic!("nothing mounts {name}"))["name"].clone();
        let mount = mounts.iter().find(|mount| mount["name"] == volume).expect("a mount");
        mount["mountPath"].as_str().expect("a path").to_owned()
    };
    let configmap = parsed("docker/kubernetes/configmap.yaml");
    let config = folder(configmap["metadata"]["name"].as_str().expect("a name"));
    assert_eq!(words(&sidecar["args"]), ["--config", &format!("{config}/larder.yaml")]);
    let text = configmap["data"]["larder.yaml"].as_str().expect("a configuration");
    let secret = parsed("docker/kubernetes/secret.yaml");
    assert_eq!(secret["metadata"]["name"], "larder");
    let volumes = pod["volumes"].as_sequence().expect("volumes");
    let of_secret = volumes.iter().find(|volume| !volume["secret"].is_null()).expect("a secret");
    let mount = mounts.iter().find(|mount| mount["name"] == of_secret["name"]).expect("a mount");
    for key in secret["stringData"].as_mapping().expect("passwords").keys() {
        let path = format!("{}/{}", mount["mountPath"].as_str().expect("a path"), key.as_str().expect("a key"));
        assert!(text.contains(&path), "nothing reads {path}");
    }
}

#[test]
fn the_configuration_serves_and_every_probe_is_answered() {
    let redis = Redis::start_with(&["--user", "app", "on", ">hush", "~*", "&*", "+@all"]);
    let scratch = Scratch::new("pod");
    fs::write(scratch.file("redis-password"), "hush\n").expect("the scratch directory is writable");
    fs::write(scratch.file("admin-token"), "0123456789abcdef0123456789abcdef\n")
        .expect("the scratch directory is writable");
    let configmap = parsed("docker/kubernetes/configmap.yaml");
    let text = configmap["data"]["larder.yaml"].as_str().expect("a configuration");
    let mut adapted = text.to_owned();
    for (theirs, ours) in [
        ("127.0.0.1:6380", "127.0.0.1:0"),
        ("0.0.0.0:9180", "127.0.0.1:0"),
        ("redis.default.svc.cluster.local:6379", &redis.address().to_string()),
        ("/etc/larder-secrets", &scratch.path().display().to_string()),
    ] {
        assert!(adapted.contains(theirs), "no {theirs} in\n{text}");
        adapted = adapted.replace(theirs, ours);
    }
    let file = scratch.file("larder.yaml");
    fs::write(&file, adapted).expect("the scratch directory is writable");
    let larder = Program::start(&["--config", &file.display().to_string()]);
    assert_eq!(larder.connect().say("SET k v"), Reply::ok(), "{}", larder.output());
    assert_eq!(larder.connect().say("ACL WHOAMI"), Reply::bulk("app"));

    let admin = larder.banner("admin").replace("http://", "").parse().expect("an address");
    let sidecar = sidecar();
    let ports = sidecar["ports"].as_sequence().expect("ports");
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let asked = &sidecar[probe]["httpGet"];
        let port = ports.iter().find(|port| port["name"] == asked["port"]).expect("a port of that name");
        assert_eq!(port["containerPort"], 9180, "{probe}");
        let (status, said) = http(admin, "GET", asked["path"].as_str().expect("a path"));
        assert_eq!(status, 200, "{probe}: {said}");
    }
    assert_eq!(http(admin, "GET", "/metrics").0, 401, "what is not a probe needs the token");
    // An upstream that is away must not have the pod restarted.
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/livez");
}
