//! Tests of the command line.

use super::*;

fn cli(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["larder"], args].concat())
}

fn loaded(args: &[&str]) -> Result<Loaded, String> {
    load(&cli(args).unwrap()).map_err(|errors| errors.to_string())
}

/// A file of this process that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("larder-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const FILE: &[u8] = b"listeners: [{address: 0.0.0.0:6380}]\nupstreams: {main: {kind: redis, endpoints: [h:1]}}\n";

#[test]
fn without_flags_the_embedded_default_is_loaded() {
    let loaded = loaded(&[]).unwrap();
    assert_eq!((loaded.config, loaded.source), (Config::embedded(), Source::Embedded));
}

#[test]
fn a_url_is_loaded_and_never_repeated() {
    let loaded = loaded(&["--upstream", "redis://u:hunter2@h:1/2"]).unwrap();
    assert_eq!(loaded.config.upstreams["main"].database, 2);
    assert!(!format!("{loaded:?} {} {}", loaded.source, verdict(&loaded)).contains("hunter2"));
}

#[test]
fn a_route_can_only_name_commands_whose_replies_are_cached() {
    let routes = b"routes: [{keys: [a], cache: {commands: [get, SET, HGETAL, XYZZY]}}]\n";
    let file = Scratch::new("commands", &[FILE, b"allow_insecure: true\n", routes].concat());
    let errors = loaded(&["--config", file.path()]).unwrap_err();
    for words in [
        ":4:46: routes[0].cache.commands[1]: replies of SET are never cached\n    leave it out",
        ":4:51: routes[0].cache.commands[2]: there is no command HGETAL\n    did you mean HGETALL?",
        ":4:59: routes[0].cache.commands[3]: there is no command XYZZY\n    docs/compatibility.md tells",
    ] {
        assert!(errors.contains(words), "{errors}");
    }
    assert_eq!(errors.matches("routes[0]").count(), 3, "{errors}");
}

#[test]
fn listen_replaces_the_listeners_of_a_file_even_a_refused_one() {
    let file = Scratch::new("open", FILE);
    let args = ["--config", file.path()];
    assert!(loaded(&args).unwrap_err().contains("can be reached from other machines"));
    let args = [&args[..], &["--listen", "127.0.0.1:1", "--listen", "unix:/x"]].concat();
    let loaded = loaded(&args).unwrap();
    let addresses: Vec<_> = loaded.config.listeners.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:1", "unix:/x"]);
    assert_eq!(loaded.source, Source::File(file.0.clone()));
}

#[test]
fn faults_of_flags_name_the_flag() {
    let errors = loaded(&["--listen", "x", "--listen", "0.0.0.0:1", "--admin", "y"]).unwrap_err();
    assert!(errors.contains("--listen: \"x\" has no port"), "{errors}");
    assert!(errors.contains("--listen: 0.0.0.0:1 can be reached"), "{errors}");
    assert!(errors.contains("--admin: \"y\" is not an IP address"), "{errors}");
    let errors = loaded(&["--upstream", "redis://u:hunter2@"]).unwrap_err();
    assert!(errors.starts_with("--upstream: there is no host") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn top_is_a_task_of_its_own_with_flags_of_its_own() {
    let asked = |args: &[&str]| cli(args).map(|cli| cli.action);
    let Ok(Some(Action::Top(top))) = asked(&["top"]) else { panic!("top is a task") };
    assert_eq!((top.admin, top.token_file), (Config::embedded().admin.address.to_string(), None));
    let Ok(Some(Action::Top(top))) = asked(&["top", "--admin", "h:1", "--token-file", "f"]) else {
        panic!("with flags")
    };
    assert_eq!((&*top.admin, top.token_file), ("h:1", Some("f".into())));
    assert!(matches!(asked(&["--admin", "127.0.0.1:1"]), Ok(None)));
    assert!(
        asked(&["--check", "top"]).is_err() && asked(&["tpo"]).is_err() && asked(&["top", "--config", "f"]).is_err()
    );
}

#[test]
fn an_admin_address_that_was_asked_for_is_marked() {
    let admin = loaded(&["--admin", "127.0.0.1:0"]).unwrap().config.admin;
    assert!(admin.configured);
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    for (path, words) in [
        ("/nonexistent/larder.yaml", "/nonexistent/larder.yaml: the file cannot be read: there is no such file"),
        ("/", "/: this is a directory"),
        ("/dev/zero", "/dev/zero: the file is larger than 1 MiB"),
    ] {
        let errors = loaded(&["--config", path]).unwrap_err();
        assert!(errors.starts_with(words), "{errors}");
    }
    let binary = Scratch::new("binary", b"a: b\nc: \xff\n");
    let errors = loaded(&["--config", binary.path()]).unwrap_err();
    assert!(errors.contains("not UTF-8 text: byte 8, in line 2"), "{errors}");
}

#[test]
fn the_verdict_names_the_file_and_what_was_understood() {
    let file = Scratch::new("good", &FILE.to_ascii_lowercase());
    let loaded = loaded(&["--config", file.path(), "--listen", "127.0.0.1:1"]).unwrap();
    assert_eq!(
        verdict(&loaded),
        format!(
            "{}: OK\nlistens on 127.0.0.1:1; upstream main (redis at h:1); 1 route; admin 127.0.0.1:9180",
            file.path()
        )
    );
}

#[test]
fn unknown_flags_and_pairs_that_exclude_each_other_end_with_code_2() {
    for args in [&["--bogus"][..], &["--config", "a", "--upstream", "b"], &["--config"], &["file.yaml"]] {
        assert_eq!(cli(args).unwrap_err().exit_code(), i32::from(BAD_CONFIG), "{args:?}");
    }
    assert_eq!(cli(&["--help"]).unwrap_err().exit_code(), 0);
}
