//! A configuration on its way: read from a text, a URL or nothing, changed by flags, then checked as a whole.
//!
//! Flags are applied before the checks, so that `--listen` can replace a listener of the file that would be refused.

use super::check::{self, Findings};
use super::fault::{Fault, Faults, Path, Step, Wrong, nearest, shown};
use super::section::Section;
use super::tree::{self, Node};
use super::{
    Address, Admin, Config, ConfigError, Errors, LadderStep, Limits, Listener, ListenerTls, Log, NearCache, Pattern,
    Route, Traces, Upstream, UpstreamTls, Workers, limits, units, url, variables,
};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

/// A configuration that is read and not yet checked.
pub(crate) struct Draft {
    config: Config,
    faults: Faults,
    /// Flags that could not be read.
    flag_errors: Vec<ConfigError>,
    /// Names of commands that there are not, once they are asked for.
    refused: Findings,
    tree: Option<Node>,
    place: String,
    /// Top-level keys that a flag replaced, with the flag.
    replaced: BTreeMap<&'static str, &'static str>,
}

const SMALLEST: &str = "the smallest file is:\n      listeners:\n        - address: 127.0.0.1:6380\n      upstreams:\n        main: {kind: redis, endpoints: [127.0.0.1:6379]}";

// === reading ===

impl Draft {
    /// The embedded default.
    pub fn embedded() -> Draft {
        Draft::of(Config::embedded(), Faults::default(), None, "the embedded default")
    }

    /// What a URL describes.
    pub fn for_upstream(url: &str) -> Result<Draft, Errors> {
        const FLAG: &str = "--upstream";
        let (name, upstream) = url::upstream(url).map_err(|wrong| Errors::single(FLAG, wrong.problem, wrong.remedy))?;
        Ok(Draft::of(Config::with(name, upstream), Faults::default(), None, FLAG))
    }

    /// What a text describes; an error where it is no YAML at all.
    pub fn read(text: &str, place: &str) -> Result<Draft, Errors> {
        let stop = |fault: Fault| Errors::new(vec![placed(fault, place)], 0);
        let Some(mut tree) = tree::read(text).map_err(stop)? else {
            return Err(Errors::single(place, "the file is empty", SMALLEST));
        };
        if !matches!(tree.value, tree::Value::Map(_)) {
            return Err(stop(Fault {
                path: Path::default(),
                mark: tree.mark,
                wrong: Wrong::new("the file is not a map of keys such as listeners and upstreams", SMALLEST),
            }));
        }
        let faults = Faults::default();
        variables::fill(&mut tree, &Path::default(), &faults, &|name| std::env::var(name).ok());
        let config = config(&tree, &faults);
        Ok(Draft::of(config, faults, Some(tree), place))
    }

    /// What a file describes.
    pub fn read_file(path: &std::path::Path) -> Result<Draft, Errors> {
        let place = super::upstream::shown_path(path);
        let stop = |problem: String, remedy: &str| Errors::single(&place, problem, remedy);
        const REMEDY: &str = "give the path of a configuration file; config.example.yaml is one to start from";
        let unreadable = |error: std::io::Error| {
            let reason = super::upstream::reason(&error);
            stop(format!("the file cannot be read: {reason}"), REMEDY)
        };
        if path.is_dir() {
            return Err(stop("this is a directory".to_owned(), REMEDY));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .map_err(unreadable)?
            .take(tree::MOST_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() > tree::MOST_BYTES {
            let wrong = tree::too_large();
            return Err(stop(wrong.problem, &wrong.remedy));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|b| **b == b'\n').count();
            stop(
                format!("the file is not UTF-8 text: byte {good}, in line {line}, is none"),
                "save it as UTF-8; write other bytes of a pattern as ?",
            )
        })?;
        Draft::read(&text, &place)
    }

    fn of(config: Config, faults: Faults, tree: Option<Node>, place: &str) -> Draft {
        Draft {
            config,
            faults,
            flag_errors: Vec::new(),
            refused: Findings::default(),
            tree,
            place: place.to_owned(),
            replaced: BTreeMap::new(),
        }
    }

    /// Every key that was asked for, and whether it stands in the text.
    #[cfg(test)]
    pub fn asked(&self) -> Vec<(String, bool)> {
        let asked = self.faults.asked.borrow();
        asked.iter().map(|(path, there)| (path.to_string(), *there)).collect()
    }
}

/// Reads the top of the file.
fn config(tree: &Node, faults: &Faults) -> Config {
    const LISTENERS: &str = "add a list such as listeners: [{address: 127.0.0.1:6380}]";
    const UPSTREAMS: &str = "add a map such as upstreams: {main: {kind: redis, endpoints: [127.0.0.1:6379]}}";
    let mut section = Section::open(tree, Path::default(), None, faults);

    let items = section.required_list("listeners", LISTENERS);
    let listeners: Vec<_> = items.into_iter().map(|item| Listener::read(item, faults)).collect();
    if listeners.is_empty() && section.has("listeners") && !faults.touches(&Path::of(["listeners"])) {
        section.report("listeners", Wrong::new("there is no listener", LISTENERS));
    }

    let items = section.required_names("upstreams", UPSTREAMS);
    let upstreams: BTreeMap<_, _> =
        items.into_iter().map(|item| (item.name.to_owned(), Upstream::read(item, faults))).collect();
    if upstreams.is_empty() && section.has("upstreams") && !faults.touches(&Path::of(["upstreams"])) {
        section.report("upstreams", Wrong::new("there is no upstream", UPSTREAMS));
    }

    let only = match upstreams.len() {
        1 => upstreams.keys().next().map(String::as_str),
        _ => None,
    };
    let items = section.list("routes", "write a list such as - {keys: [\"session:*\"], upstream: main}");
    let routes = items.unwrap_or_default().into_iter();
    let mut routes: Vec<_> = routes.map(|item| Route::read(item, only, faults)).collect();
    // A pattern that begins with a wildcard would tie with the one for everything; the rest goes to the only upstream without it.
    let wild = |pattern: &String| Pattern::of(pattern).literal.is_empty();
    let any = routes.iter().flat_map(|route| &route.keys).any(wild);
    if let Some(only) = only.filter(|_| !any) {
        routes.push(Route::everything_to(only));
    }

    let mut ladders = BTreeMap::from([("default".to_owned(), LadderStep::default_ladder())]);
    for item in section.names("ladders").unwrap_or_default() {
        ladders.insert(item.name.to_owned(), LadderStep::read_all(&item, faults));
    }

    let config = Config {
        near_cache: NearCache::read(section.section("near_cache")),
        admin: Admin::read(section.section("admin")),
        limits: Limits::read(section.section("limits")),
        traces: Traces::read(section.section("traces")),
        reload_on_change: section.value("reload_on_change", true, units::flag),
        workers: section.value("workers", Workers::Auto, limits::workers),
        drain_delay: section.value("drain_delay", Duration::ZERO, units::duration),
        log: Log::read(section.section("log")),
        handover: section.optional("handover", super::listener::socket_path),
        drain_timeout: section.value("drain_timeout", super::DRAIN_TIMEOUT, units::duration),
        allow_insecure: section.value("allow_insecure", false, units::flag),
        allow_admin: section.value("allow_admin", false, units::flag),
        cluster_facade: section.value("cluster_facade", false, units::flag),
        listeners,
        upstreams,
        routes,
        ladders,
    };
    section.finish();
    config
}

// === flags ===

impl Draft {
    /// `--listen`: replaces all listeners; without an address it changes nothing.
    pub fn listen(&mut self, addresses: &[String]) {
        const FLAG: &str = "--listen";
        if addresses.is_empty() {
            return;
        }
        self.replaced.insert("listeners", FLAG);
        self.config.listeners.clear();
        for text in addresses {
            match Address::from_text(text) {
                Ok(address) => self.config.listeners.push(Listener::plain(address)),
                Err(wrong) => self.flag_error(FLAG, wrong),
            }
        }
    }

    /// `--admin`: replaces the admin address.
    pub fn admin(&mut self, text: &str) {
        const FLAG: &str = "--admin";
        self.replaced.insert("admin", FLAG);
        match Admin::from_text(text) {
            Ok(admin) => self.config.admin = Admin { token: self.config.admin.token.take(), ..admin },
            Err(wrong) => self.flag_error(FLAG, wrong),
        }
    }

    fn flag_error(&mut self, flag: &str, wrong: Wrong) {
        self.flag_errors.push(ConfigError {
            place: flag.to_owned(),
            line: None,
            column: None,
            path: String::new(),
            problem: wrong.problem,
            remedy: wrong.remedy,
        });
    }
}

// === checking ===

/// Reads the files of a section and says what is wrong with what is in them.
type Reading<T> = fn(&T) -> Result<(), String>;

impl Draft {
    /// Has the files of every TLS section read by those who will use them.
    pub fn with_tls_files(mut self, listener: Reading<ListenerTls>, upstream: Reading<UpstreamTls>) -> Draft {
        const FILES: &str = "name PEM files that belong together";
        let mut refuse = |path: Path, read: Result<(), String>| {
            if let Err(problem) = read {
                // A file that cannot be opened has been reported already, at its own key.
                let files = ["ca", "cert", "key", "client_ca"].map(|key| path.key(key)).into();
                self.refused.because(path, files, problem, FILES);
            }
        };
        for (index, tls) in self.config.listeners.iter().enumerate().filter_map(|(i, l)| Some((i, l.tls.as_ref()?))) {
            refuse(Path::of(["listeners"]).index(index).key("tls"), listener(tls));
        }
        for (name, tls) in self.config.upstreams.iter().filter_map(|(name, u)| Some((name, u.tls.as_ref()?))) {
            refuse(Path::of(["upstreams", name, "tls"]), upstream(tls));
        }
        self
    }

    /// Has the command names of routes judged by those who know the commands: `known` tells the name of each, in any case, and
    /// whether its replies are ever cached. It is asked only if a route names commands.
    pub fn with_commands(mut self, known: impl FnOnce() -> Vec<(String, bool)>) -> Draft {
        let named = |route: &Route| route.cache.commands.is_some();
        if !self.config.routes.iter().any(named) {
            return self;
        }
        let known: BTreeMap<String, bool> =
            known().into_iter().map(|(name, cached)| (name.to_ascii_uppercase(), cached)).collect();
        for (index, route) in self.config.routes.iter().enumerate() {
            for (number, name) in route.cache.commands.iter().flatten().enumerate() {
                let (problem, remedy) = match known.get(name) {
                    Some(true) => continue,
                    Some(false) => (
                        format!("replies of {} are never cached", shown(name)),
                        "leave it out; docs/compatibility.md tells whose replies are cached".to_owned(),
                    ),
                    None => {
                        let cached = known.iter().filter(|(_, cached)| **cached).map(|(name, _)| name.as_str());
                        let remedy = match nearest(name, cached) {
                            Some(near) => format!("did you mean {near}?"),
                            None => "docs/compatibility.md tells whose replies are cached".to_owned(),
                        };
                        (format!("there is no command {}", shown(name)), remedy)
                    }
                };
                let path = Path::of(["routes"]).index(index).key("cache").key("commands").index(number);
                self.refused.add(path, problem, remedy);
            }
        }
        self
    }

    /// The checked configuration, or everything that is wrong with it.
    pub fn finish(self) -> Result<Config, Errors> {
        let mut errors = self.flag_errors;
        let mut findings = check::findings(&self.config).0;
        findings.extend(self.refused.0);
        for finding in findings {
            let flag = match finding.path.steps().first() {
                Some(Step::Key(key)) => self.replaced.get(key.as_str()),
                _ => None,
            };
            let mut fault = Fault { path: finding.path, mark: None, wrong: finding.wrong };
            // What a flag brought has neither a line nor a key path, and nothing in the file can have spoilt it.
            if let Some(flag) = flag {
                fault.path = Path::default();
                errors.push(placed(fault, flag));
                continue;
            }
            let mut rests_on = std::iter::once(&fault.path).chain(&finding.because);
            if !rests_on.any(|path| self.faults.touches(path)) {
                fault.mark = self.tree.as_ref().and_then(|tree| tree.locate(&fault.path));
                self.faults.push(fault);
            }
        }
        let (faults, more) = self.faults.into_parts();
        errors.extend(faults.into_iter().map(|fault| placed(fault, &self.place)));
        if errors.is_empty() { Ok(self.config) } else { Err(Errors::new(errors, more)) }
    }
}

fn placed(fault: Fault, place: &str) -> ConfigError {
    ConfigError {
        place: place.to_owned(),
        line: fault.mark.map(|mark| mark.line),
        column: fault.mark.map(|mark| mark.column),
        path: fault.path.to_string(),
        problem: fault.wrong.problem,
        remedy: fault.wrong.remedy,
    }
}
