//! The lines of `README.md` are run as they stand there, and what they print is what stands below them.
//!
//! Only ports differ: the tests take free ones. What differs from run to run is compared without it: times, the
//! number of workers, the estimated reads of a hot key.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use larder_integration_tests::metrics::Metrics;
use larder_integration_tests::program::{Program, run};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::wait;

/// What the README calls the origin, Larder, and its admin page.
const PLACES: [&str; 3] = ["127.0.0.1:6379", "127.0.0.1:6380", "127.0.0.1:9180"];

/// A line that a person types, and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: String,
    prints: String,
}

#[test]
fn the_quick_start_prints_what_the_readme_shows() {
    let steps = steps(&readme());
    assert!(steps.len() > 8, "the README has lost its quick start");
    let mut origin = None;
    let mut larder = None;
    for step in &steps {
        if step.line.starts_with("redis-server ") {
            match &mut origin {
                None => origin = Some(Redis::start()),
                Some(origin) => origin.restart(),
            }
            if let Some(larder) = &larder {
                // A person is slower than a health check.
                wait::until("it is asked again", || Metrics::scrape(admin(larder)).sum("larder_breaker_state") == 0.0);
            }
        } else if let Some(args) = step.line.strip_prefix("cargo run --release -- ") {
            let origin: &Redis = origin.as_ref().expect("the README starts Redis first");
            larder = Some(start(args, origin.address(), &step.prints));
        } else {
            let origin: &Redis = origin.as_ref().expect("the README starts Redis first");
            let larder: &Program = larder.as_ref().expect("the README starts Larder before it is used");
            follow(step, origin.address(), larder);
        }
    }
}

#[test]
fn the_smallest_configuration_is_good() {
    let blocks: Vec<String> = blocks(&readme(), "yaml").map(|lines| lines.join("\n")).collect();
    assert!(!blocks.is_empty(), "the README shows no configuration");
    let scratch = Scratch::new("readme");
    let secret = scratch.file("password");
    fs::write(&secret, "a password\n").expect("the scratch directory is writable");
    for block in blocks {
        let file = scratch.file("larder.yaml");
        let text = block.replace("/run/secrets/redis", &secret.display().to_string());
        fs::write(&file, text).expect("the scratch directory is writable");
        let output = run(&["--config", &file.display().to_string(), "--check"]);
        assert!(output.status.success(), "{}\n{block}", String::from_utf8_lossy(&output.stderr));
    }
}

// === steps ===

/// Starts Larder with these arguments of the README and compares its banner.
fn start(args: &str, origin: SocketAddr, banner: &str) -> Program {
    let args = args.replace(PLACES[0], &origin.to_string());
    let mut args: Vec<&str> = args.split(' ').collect();
    args.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let larder = Program::start(&args);
    let output = larder.output();
    let own = output.lines().skip_while(|line| !line.starts_with("larder ")).take(banner.lines().count());
    let own = as_in_the_readme(&own.collect::<Vec<_>>().join("\n"), origin, &larder);
    assert_eq!(steady(&own), steady(banner), "the banner");
    // A person is slower than the tracked connection.
    wait::until("coverage", || Metrics::scrape(admin(&larder)).sum("larder_cache_covered") == 1.0);
    larder
}

/// Runs one line by the shell and compares what it prints.
fn follow(step: &Step, origin: SocketAddr, larder: &Program) {
    let mut line = step.line.clone();
    for (shown, real) in [("6379", origin.port()), ("6380", larder.address().port())] {
        // As on a terminal, where redis-cli says of what type a reply is; into a pipe or a file it does not.
        let format = if line.contains(['|', '>']) { "" } else { " --no-raw" };
        line = line.replace(&format!("redis-cli -p {shown}"), &format!("redis-cli{format} -p {real}"));
    }
    let pushes = || Metrics::scrape(admin(larder)).sum_where("larder_cache_invalidations_total", "push");
    let before = pushes();
    let mut said = String::new();
    let mut right = || {
        let output = Command::new("sh").arg("-c").arg(&line).output().expect("there is a shell");
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        steady(&as_in_the_readme(&said, origin, larder)) == steady(&step.prints)
    };
    if line.contains("LARDER") {
        // Hot keys are published a little later; what LARDER answers changes nothing, so it can be asked again.
        let agrees = wait::holds_within(wait::PATIENCE, right);
        assert!(agrees, "`{}` prints\n{said}\nand not\n{}", step.line, step.prints);
    } else {
        assert!(right(), "`{}` prints\n{said}\nand not\n{}", step.line, step.prints);
    }
    if line.contains(&format!("-p {} SET", origin.port())) {
        // The push travels by itself; the next line is about what comes after it.
        wait::until("a push for the change at the origin", || pushes() > before);
    }
}

fn admin(larder: &Program) -> SocketAddr {
    let page = larder.banner("admin");
    page.trim_start_matches("http://").parse().expect("the banner names the admin address")
}

/// `text` with the addresses of the README in the place of the real ones.
fn as_in_the_readme(text: &str, origin: SocketAddr, larder: &Program) -> String {
    let real = [origin, larder.address(), admin(larder)];
    real.iter().zip(PLACES).fold(text.to_owned(), |text, (real, shown)| text.replace(&real.to_string(), shown))
}

/// `text` without what differs from run to run: seconds, the number of workers, estimated reads. Empty lines, which
/// redis-cli puts behind an error, do not count.
fn steady(text: &str) -> String {
    let line = |line: &str| {
        if line.trim_start().starts_with("workers ") {
            return "workers".to_owned();
        }
        if line.starts_with("   2) (integer) ") {
            return "reads".to_owned();
        }
        let words = line.split(' ').map(|word| {
            let bare = word.trim_end_matches([',', ':', '"', ')']);
            let figure = bare.rsplit('=').next().unwrap_or_default();
            let is = |unit| figure.strip_suffix(unit).is_some_and(|number: &str| number.parse::<f64>().is_ok());
            if is('s') {
                "SECONDS"
            } else if is('%') {
                "SHARE"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

// === the page ===

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a language, each as its lines.
fn blocks(text: &str, language: &str) -> impl Iterator<Item = Vec<String>> {
    let fence = format!("```{language}");
    let mut found = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in text.lines() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(lines) => lines.push(line.to_owned()),
            None if line == fence => open = Some(Vec::new()),
            None => {}
        }
    }
    found.into_iter()
}

/// What is typed behind `$ ` in the console blocks, with what stands below it.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks(text, "console").flatten() {
        match line.strip_prefix("$ ") {
            Some(line) => steps.push(Step { line: line.to_owned(), prints: String::new() }),
            None => {
                let step = steps.last_mut().expect("a block begins with what is typed");
                step.prints += &line;
                step.prints.push('\n');
            }
        }
    }
    steps
}

#[test]
fn the_lines_of_a_page_are_found() {
    let page = "```console\n$ a b\n1\n2\n$ c\n```\n```sh\n$ not this\n```\n";
    let step = |line: &str, prints: &str| Step { line: line.to_owned(), prints: prints.to_owned() };
    assert_eq!(steps(page), [step("a b", "1\n2\n"), step("c", "")]);
    assert_eq!(
        steady("age 0.009s, 293.994s left, 11 bytes\"\n  workers    2\n"),
        "age SECONDS SECONDS left, 11 bytes\"\nworkers"
    );
    assert_ne!(steady("(integer) 1"), steady("(integer) 2"));
}
