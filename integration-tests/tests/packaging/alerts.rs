//! The alert rules and the dashboard, by promtool and by a real Prometheus that scrapes a real Larder.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::prometheus::Prometheus;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;
use serde_json::Value;

use crate::{parsed, repository, succeed, text};

/// What Grafana puts into expressions.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*"), ("$upstream", ".*")];
/// Panels that have nothing to show in front of one Redis that nobody's other ways use.
const EMPTY: [&str; 2] = ["Invalidation channels", "Answers in degraded rungs"];

// === promtool ===

#[test]
fn promtool_finds_the_rules_right_and_their_unit_tests_pass() {
    let folder = repository("docker/prometheus");
    let promtool = |args: &[&str]| succeed(Command::new("promtool").args(args).current_dir(&folder));
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["test", "rules", "rules.test.yaml"]);
}

/// The unit tests say of each situation which alerts fire in it and that no others do.
#[test]
fn every_alert_has_a_unit_test_in_which_it_fires() {
    let tests = text("docker/prometheus/rules.test.yaml");
    for Alert { name, .. } in alerts() {
        let fires = format!("{{labels: 'ALERTS{{alertname=\"{name}\",alertstate=\"firing\"");
        assert!(tests.contains(&fires), "{name} fires in no situation of rules.test.yaml");
    }
}

#[test]
fn the_unit_tests_notice_a_rule_that_asks_for_something_else() {
    for wrong in ["vector(1)", "vector(1) > 2"] {
        let scratch = Scratch::new("rules");
        let mut file = parsed("docker/prometheus/rules.yaml");
        let groups = file["groups"].as_sequence_mut().expect("groups");
        let mut rules = groups.iter_mut().flat_map(|group| group["rules"].as_sequence_mut().expect("rules"));
        let alert = rules.find(|rule| rule["alert"] == "LarderEvictionsHigh").expect("the alert is there");
        alert["expr"] = wrong.into();
        fs::write(scratch.file("rules.yaml"), serde_yaml::to_string(&file).expect("YAML")).expect("written");
        fs::write(scratch.file("rules.test.yaml"), text("docker/prometheus/rules.test.yaml")).expect("written");
        let mut promtool = Command::new("promtool");
        let output = promtool.args(["test", "rules", "rules.test.yaml"]).current_dir(scratch.path()).output();
        assert!(!output.expect("promtool runs").status.success(), "evictions as `{wrong}` pass");
    }
}

// === the alerts and the runbook ===

struct Alert {
    name: String,
    annotations: serde_yaml::Value,
    severity: String,
}

/// Every alert of the rules.
fn alerts() -> Vec<Alert> {
    let file = parsed("docker/prometheus/rules.yaml");
    let groups = file["groups"].as_sequence().expect("groups").clone();
    let rules = groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone());
    let alerts: Vec<Alert> = rules
        .filter_map(|rule| {
            Some(Alert {
                name: rule["alert"].as_str()?.to_owned(),
                annotations: rule["annotations"].clone(),
                severity: rule["labels"]["severity"].as_str().unwrap_or_default().to_owned(),
            })
        })
        .collect();
    assert!(alerts.len() > 10, "the rules are read");
    alerts
}

#[test]
fn every_alert_leads_to_its_heading_in_the_runbook_and_every_heading_to_its_alert() {
    let runbook = text("docs/runbook.md");
    let headings: BTreeSet<String> =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    let names: BTreeSet<String> = alerts().iter().map(|alert| alert.name.clone()).collect();
    assert_eq!(headings, names);
    for alert in alerts() {
        let link = format!("docs/runbook.md#{}", alert.name.to_lowercase());
        assert_eq!(alert.annotations["runbook_url"].as_str(), Some(link.as_str()), "{}", alert.name);
        for annotation in ["summary", "description"] {
            assert!(alert.annotations[annotation].as_str().is_some_and(|text| text.len() > 20), "{}", alert.name);
        }
        assert!(["info", "warning", "critical"].contains(&alert.severity.as_str()), "{}", alert.name);
    }
}

// === by a real Prometheus ===

/// The shipped configuration for these targets, with shorter times.
fn configuration(scratch: &Scratch, targets: &[String]) -> PathBuf {
    let quick = |text: String| {
        let lines = text.lines().map(|line| {
            let words = line.trim_start();
            let indent = &line[..line.len() - words.len()];
            match words.split_once(": ") {
                Some(("scrape_interval" | "evaluation_interval", _)) => {
                    format!("{indent}{}: 250ms\n", words.split(':').next().unwrap_or_default())
                }
                Some(("for", time)) if time != "0m" => format!("{indent}for: 1s\n"),
                Some(("- targets", _)) => format!("{indent}- targets: [{}]\n", targets.join(", ")),
                _ => format!("{line}\n"),
            }
        });
        lines.collect::<String>()
    };
    let (config, rules) = (text("docker/prometheus/prometheus.yaml"), text("docker/prometheus/rules.yaml"));
    fs::write(scratch.file("rules.yaml"), quick(rules)).expect("the scratch directory is writable");
    let adapted = quick(config);
    assert!(adapted.contains(&targets[0]) && adapted.matches("250ms").count() == 2, "{adapted}");
    fs::write(scratch.file("prometheus.yaml"), adapted).expect("the scratch directory is writable");
    scratch.file("prometheus.yaml")
}

fn data(answer: (u16, String)) -> Value {
    let (status, body) = answer;
    assert_eq!(status, 200, "{body}");
    let json: Value = serde_json::from_str(&body).expect("Prometheus answers in JSON");
    assert_eq!(json["status"], "success", "{body}");
    json["data"].clone()
}

/// Every rule as Prometheus sees it.
fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let data = data(prometheus.ask("/api/v1/rules"));
    let groups = data["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The names of the alerts that fire.
fn firing(prometheus: &Prometheus) -> BTreeSet<String> {
    let rules = rules(prometheus);
    let firing = rules.iter().filter(|rule| rule["state"] == "firing");
    firing.map(|rule| rule["name"].as_str().expect("a name").to_owned()).collect()
}

/// The expressions of the dashboard with their panels and legends.
fn expressions() -> Vec<(String, String, String)> {
    let dashboard: Value = serde_json::from_str(&text("docker/grafana/dashboards/larder.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    let mut found = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title").to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let of = |key: &str| target[key].as_str().expect("text").to_owned();
            found.push((title.clone(), of("expr"), of("legendFormat")));
        }
    }
    assert!(found.len() > 30, "the dashboard is read");
    found
}

fn filled_in(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn a_prometheus_evaluates_every_rule_and_panel_and_alerts_while_a_server_is_away() {
    let mut redis = Redis::start();
    let settings = Settings::new(redis.address())
        .upstream("connect_timeout: 500ms")
        .upstream("command_timeout: 500ms")
        .section("ladders: {default: [{rung: local-only, for: 2s}, {rung: reject}]}");
    let (larder, other) = (Larder::start_with(&settings), Larder::start_with(&settings));
    let scratch = Scratch::new("configuration");
    let targets = [larder.admin().to_string(), other.admin().to_string()];
    let prometheus = Prometheus::start(&configuration(&scratch, &targets));

    let mut client = larder.connect();
    client.say("SET k v");
    larder.warm(&mut client, "GET k");
    wait::until("two scrapes of both with traffic between them", || {
        client.say("GET k");
        client.say("INCR n");
        other.say("GET k");
        let rates = data(prometheus.query("count(rate(larder_commands_total[1m]) > 0)"));
        rates["result"][0]["value"][1] == "2"
    });
    wait::until("every rule was evaluated", || {
        rules(&prometheus).iter().all(|rule| rule["lastEvaluation"].as_str().is_some_and(|at| !at.starts_with("0001")))
    });
    for rule in rules(&prometheus) {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
    wait::until("no alert about servers fires while all is well", || {
        let firing = firing(&prometheus);
        !firing.iter().any(|name| name.starts_with("LarderRung") || name.starts_with("LarderBreaker"))
    });

    // Every expression of the dashboard has series, and they have the labels that its legend names.
    for (panel, expression, legend) in expressions() {
        let expression = filled_in(&expression);
        let data = data(prometheus.query(&expression));
        let series = data["result"].as_array().expect("series").clone();
        if EMPTY.contains(&panel.as_str()) {
            continue;
        }
        // A ratio, a quantile or a reason of what did not happen has no number, but its parts have.
        let may_lack = expression.contains("retries") || expression.contains("stale_age");
        assert!(!series.is_empty() || may_lack, "{panel}: no series for {expression}");
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(series.iter().all(|one| !one["metric"][label].is_null()), "{panel}: {expression} has no {label}");
        }
    }
    for (metric, label) in
        [("larder_build_info", "job"), ("larder_build_info", "instance"), ("larder_upstream_nodes", "upstream")]
    {
        let data = data(prometheus.query(&format!("count by ({label}) ({metric})")));
        assert!(!data["result"][0]["metric"][label].is_null(), "{metric} fills the variable {label}");
    }

    let expected = ["LarderBreakerOpen", "LarderRungDegraded", "LarderRungExhausted"].map(str::to_owned);
    redis.kill();
    wait::until("the alerts about a server that is away", || {
        client.say("GET missing");
        expected.iter().all(|name| firing(&prometheus).contains(name))
    });
    for rule in rules(&prometheus) {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        for alert in rule["alerts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| expected.iter().any(|name| rule["name"] == name.as_str()))
        {
            let told = alert["annotations"].to_string();
            assert!(told.contains("main") || told.contains(&redis.address().to_string()), "it says which: {told}");
            assert!(!told.contains("error expanding template") && !told.contains("<no value>"), "{told}");
        }
    }
    redis.restart();
    wait::until("the alerts end", || expected.iter().all(|name| !firing(&prometheus).contains(name)));

    // One whose Larder is gone.
    drop(other);
    wait::until("an alert for the one that does not answer", || firing(&prometheus).contains("LarderDown"));
}

// === names ===

/// What looks like a metric of Larder in a text; names of recording rules (`level:larder_x:operation`) left out.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("larder_") {
        let inside = text[..at].ends_with(|before: char| part(before) || before == ':');
        let name: String = text[at..].chars().take_while(|&c| part(c)).collect();
        let recorded = text[at + name.len()..].starts_with(':') && text[at + name.len() + 1..].starts_with(part);
        if !inside && !recorded {
            found.insert(name);
        }
    }
    found
}

#[test]
fn rules_dashboard_and_pages_name_no_metric_that_is_not_there() {
    // A test of the program holds this table against the declared metrics.
    let table = text("docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let declared: BTreeSet<&str> = rows.collect();
    assert!(declared.len() > 40, "the table is read");
    let mut named = 0;
    for file in [
        "docker/prometheus/rules.yaml",
        "docker/prometheus/rules.test.yaml",
        "docker/grafana/dashboards/larder.json",
        "docs/runbook.md",
        "docs/sizing.md",
        "docs/migration.md",
        "docs/ladder.md",
        "docs/invalidation.md",
        "docs/metrics.md",
        "README.md",
    ] {
        for metric in metrics_in(&text(file)) {
            // A histogram is declared by its parts, and may be spoken of as a whole.
            let whole = declared.contains(format!("{metric}_bucket").as_str());
            assert!(whole || declared.contains(metric.as_str()), "{file}: there is no metric {metric}");
            named += 1;
        }
    }
    assert!(named > 100, "{named} names were found");
}

#[test]
fn every_recording_rule_is_of_use_and_every_one_used_is_there() {
    let rules = text("docker/prometheus/rules.yaml");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- record: ")).collect();
    let others: String =
        ["docs/runbook.md", "docs/sizing.md", "docker/grafana/dashboards/larder.json"].map(text).concat();
    let bodies: String = rules.lines().filter(|line| !line.contains("- record: ")).collect::<Vec<_>>().join("\n");
    for name in &recorded {
        assert!(bodies.contains(name) || others.contains(name), "{name} is used nowhere");
    }
    for text in [bodies, others] {
        for start in ["instance:larder", "upstream_node:larder"] {
            for (at, _) in text.match_indices(start) {
                let name: String =
                    text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == ':').collect();
                assert!(recorded.contains(name.as_str()), "there is no recording rule {name}");
            }
        }
    }
}

// === the dashboard ===

#[test]
fn the_panels_have_their_own_numbers_and_places_and_the_data_source_that_is_provisioned() {
    let dashboard: Value = serde_json::from_str(&text("docker/grafana/dashboards/larder.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{} has another's id", panel["title"]);
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let named = |name: &str| variables.iter().find(|variable| variable["name"] == name).expect("the variable is there");
    let provisioned = parsed("docker/grafana/provisioning/datasources/prometheus.yaml");
    let uid = provisioned["datasources"][0]["uid"].as_str().expect("a uid");
    assert_eq!(named("datasource")["current"]["value"], uid);
    for (_, expression, _) in expressions() {
        for variable in ["job", "instance"] {
            named(variable);
            assert!(expression.contains(&format!("{variable}=~\"${variable}\"")), "{expression} ignores {variable}");
        }
    }
    named("upstream");
}
