//! The files of `docker/` against the schemas, types and rules that those who read them publish.

use std::fs;

use larder_integration_tests::client_script;
use larder_integration_tests::scratch::Scratch;

use crate::{copy_folder, repository, said};

#[test]
fn every_file_is_what_its_reader_publishes() {
    let output = client_script::run_alone("packaged_files.py", &[&repository("docker")]);
    assert!(output.status.success() && said(&output).trim() == "fine", "{}", said(&output));
}

#[test]
fn a_fault_in_any_of_them_is_noticed() {
    for (file, right, wrong) in [
        ("compose.yaml", "read_only:", "readonly:"),
        ("compose.yaml", "condition: service_healthy", "condition: healthy"),
        ("kubernetes/deployment.yaml", "restartPolicy: Always", "restartPolicies: Always"),
        ("kubernetes/deployment.yaml", "failureThreshold: 30", "failureThreshold: often"),
        ("kubernetes/networkpolicy.yaml", "podSelector:", "pods:"),
        ("Dockerfile", "ENTRYPOINT [\"/usr/local/bin/larder\"]", "ENTRYPOINT /usr/local/bin/larder"),
        ("Dockerfile", "FROM rust:1.95-bookworm", "FROM rust:latest"),
        ("grafana/dashboards/larder.json", "\"gridPos\"", "\"gridpos\""),
        ("grafana/dashboards/larder.json", "\"mergeValues\": true", "\"mergeValue\": true"),
    ] {
        let scratch = Scratch::new("docker");
        copy_folder(&repository("docker"), scratch.path());
        let path = scratch.file(file);
        let text = fs::read_to_string(&path).expect("the copy is there");
        assert!(text.contains(right), "{file} has no `{right}`");
        fs::write(&path, text.replace(right, wrong)).expect("the scratch directory is writable");
        let output = client_script::run_alone("packaged_files.py", &[scratch.path()]);
        assert!(!output.status.success(), "{file} with `{wrong}`: {}", said(&output));
    }
}
