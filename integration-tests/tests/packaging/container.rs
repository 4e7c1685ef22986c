//! The Dockerfile: its build is carried out, and what the image would run is run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::binary_path;
use larder_integration_tests::process::{Process, Signal};
use larder_integration_tests::scratch::Scratch;
use larder_integration_tests::{client_script, port, wait};

use crate::{repository, succeed, text};

/// What the image beneath, distroless/cc, has of libraries.
const LIBRARIES: [&str; 9] = [
    "linux-vdso.so",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libpthread.so",
    "libdl.so",
    "librt.so",
    "libstdc++.so",
];

/// An instruction and its value.
type Step = (String, String);

/// The instructions of each stage.
fn stages() -> Vec<Vec<Step>> {
    let output = client_script::run_alone("dockerfile_steps.py", &[&repository("docker/Dockerfile")]);
    let steps: Vec<Step> = serde_json::from_slice(&output.stdout).expect("a list of instructions");
    let mut stages: Vec<Vec<Step>> = Vec::new();
    for step in steps {
        if step.0 == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("FROM comes first").push(step);
    }
    stages
}

/// The value of an instruction that stands once in a stage.
#[track_caller]
fn once<'a>(stage: &'a [Step], instruction: &str) -> &'a str {
    let found: Vec<&Step> = stage.iter().filter(|(name, _)| name == instruction).collect();
    let [(_, value)] = found[..] else { panic!("{instruction} stands {} times", found.len()) };
    value
}

/// The words of an instruction in its exec form.
fn exec(value: &str) -> Vec<String> {
    serde_json::from_str(value).unwrap_or_else(|error| panic!("{value} is not in exec form: {error}"))
}

/// What was compiled of others already, so that the build need not do it again: it stands where cargo looks for it.
fn lend_dependencies(target: &Path) {
    let built = binary_path().parent().expect("it lies in a folder").to_path_buf();
    for folder in ["deps", "build", ".fingerprint"] {
        lend(&built.join(folder), &target.join("debug").join(folder));
    }
}

fn lend(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the scratch directory is writable");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        let name = name.to_string_lossy();
        if name.starts_with("larder") || name.starts_with("liblarder") {
            continue;
        }
        if entry.path().is_dir() {
            lend(&entry.path(), &target);
        } else if fs::hard_link(entry.path(), &target).is_err() {
            let _ = succeed(Command::new("cp").arg("-p").arg(entry.path()).arg(&target));
        }
    }
}

/// Copies what a COPY names, of what the ignore file lets through.
fn copy(value: &str, folder: &Path) {
    let ignored = text("docker/Dockerfile.dockerignore");
    let words: Vec<&str> = value.split_whitespace().collect();
    let (target, sources) = words.split_last().expect("a target");
    for source in sources {
        assert!(
            ignored.lines().any(|line| line == format!("!{source}")),
            "{source} is ignored by Dockerfile.dockerignore"
        );
        let target = folder.join(target.trim_start_matches("./"));
        let _ = succeed(Command::new("mkdir").arg("-p").arg(&target));
        let from = repository(source);
        if from.is_dir() {
            crate::copy_folder(&from, &target);
        } else {
            fs::copy(&from, target.join(from.file_name().expect("a name"))).expect("a file can be copied");
        }
    }
}

/// Carries out the build stage: the folder of the build, and what lies in it in the place of the image's program.
fn build(scratch: &Scratch) -> PathBuf {
    let stages = stages();
    let (build, image) = (&stages[0], &stages[1]);
    let folder = scratch.file("build");
    lend_dependencies(&folder.join("target"));
    for (instruction, value) in build {
        match instruction.as_str() {
            "COPY" => copy(value, &folder),
            "RUN" => {
                assert!(value.contains("cargo build --release --locked"), "{value}");
                // The commands themselves, but for the profile: a release takes minutes.
                let quick = "cargo build --offline --config profile.dev.package.larder.opt-level=0";
                let value = value.replace("cargo build --release", quick);
                let mut shell = Command::new("sh");
                shell.args(["-ec", &value]).current_dir(&folder).env_remove("CARGO_TARGET_DIR");
                succeed(&mut shell);
            }
            "FROM" | "WORKDIR" => {}
            other => panic!("{other} is not carried out by this test"),
        }
    }
    let copied = once(image, "COPY").split_whitespace().nth(1).expect("a source").to_owned();
    let inside = copied.strip_prefix(once(build, "WORKDIR")).expect("it is made in the build's folder");
    folder.join(inside.trim_start_matches('/').replace("target/release", "target/debug"))
}

#[test]
fn the_build_makes_the_program_and_the_image_runs_it_and_asks_it_for_its_health() {
    let scratch = Scratch::new("image");
    let program = build(&scratch);
    let libraries = succeed(Command::new("ldd").arg(&program));
    for library in libraries.lines().map(str::trim) {
        let known = LIBRARIES.iter().any(|known| library.split('/').any(|part| part.starts_with(known)));
        assert!(known, "the image has no {library}");
    }

    let stages = stages();
    let image = &stages[1];
    // The image's own words, with the paths and ports of this test.
    let (listen, admin) = (port::free(), port::free());
    let config = scratch.file("larder.yaml");
    let yaml = format!(
        "listeners: [{{address: \"{listen}\"}}]\nupstreams: {{main: {{kind: memory}}}}\nadmin: {{address: \"{admin}\"}}\n"
    );
    fs::write(&config, yaml).expect("the scratch directory is writable");
    let entrypoint = exec(once(image, "ENTRYPOINT"));
    let installed = once(image, "COPY").split_whitespace().nth(2).expect("a target");
    assert_eq!(entrypoint, [installed]);
    let arguments = exec(once(image, "CMD"));
    assert!(arguments.contains(&"/etc/larder/larder.yaml".to_owned()), "{arguments:?}");
    let arguments = arguments.iter().map(|word| word.replace("/etc/larder/larder.yaml", &config.display().to_string()));
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(scratch.path());
    let mut process = Process::spawn("larder", command, scratch.file("output"));
    wait::until("it serves", || Client::try_connect(listen).is_ok());

    let check = once(image, "HEALTHCHECK");
    let words = exec(check.split_once("CMD ").expect("a command").1);
    assert_eq!(words[0], installed, "{check}: there is no shell and no curl in the image");
    let health = |admin: SocketAddr| {
        let mut command = Command::new(&program);
        command.args(&words[1..]).arg("--admin").arg(admin.to_string());
        command.output().expect("it runs").status.code()
    };
    assert_eq!(health(admin), Some(0));
    assert_eq!(once(image, "STOPSIGNAL"), "SIGTERM");
    process.signal(Signal::Terminate);
    wait::until("the end after the image's stop signal", || process.exit_status().is_some());
    assert_eq!(health(admin), Some(1));
}

#[test]
fn the_image_is_without_a_shell_without_root_and_from_pinned_images() {
    let stages = stages();
    assert_eq!(stages.len(), 2);
    for stage in &stages {
        let (_, from) = &stage[0];
        let image = from.split_whitespace().next().expect("an image");
        assert!(!image.ends_with(":latest") && image.contains(':'), "{image}");
    }
    let image = &stages[1];
    assert!(once(image, "FROM").starts_with("gcr.io/distroless/"), "no shell");
    assert!(!image.iter().any(|(instruction, _)| instruction == "RUN"), "nothing can be run in it");
    let user = once(image, "USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user} is a number and not root");
    assert_eq!(once(image, "EXPOSE"), "6380 9180");
    assert_eq!(once(image, "LABEL").matches("org.opencontainers.image.").count(), 3);
    // The C library of the image is that of the build.
    assert!(once(&stages[0], "FROM").contains("-bookworm") && once(image, "FROM").contains("debian12"));
    let needed = text("Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \"1.")?.trim_end_matches('"').parse::<u32>().ok());
    let used = once(&stages[0], "FROM").strip_prefix("rust:1.").and_then(|rest| rest.split('-').next()?.parse().ok());
    assert!(used >= needed, "the build has Rust 1.{used:?}, 1.{needed:?} is needed");
}
