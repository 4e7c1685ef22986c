//! `docs/reference.md` is written from the types: their fields are the keys, their comments the text.
//!
//! When a type has changed, `LARDER_WRITE_DOCS=1 cargo test --lib reference` writes the page anew. That the page has every key which the readers
//! ask for, and no other, is tested too.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path as File;
use syn::{Attribute, Expr, ExprLit, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

const PAGE: &str = "docs/reference.md";
const HEAD: &str = "# Configuration reference

Every key, written from the types that hold them (`LARDER_WRITE_DOCS=1 cargo test --lib reference` does it). How the file is read, with
units and errors, is told in [configuration.md](configuration.md), what a reload changes in [reload.md](reload.md);
[`config.example.yaml`](../config.example.yaml) has all of it as a file. `NAME` stands for a name of your choice, `[]` for each item of a list.
";

/// Fields that are called otherwise in the file.
const RENAMED: [(&str, &str); 1] = [("lasts", "for")];
/// Fields that are no keys.
const NO_KEYS: [&str; 1] = ["configured"];

#[derive(Default)]
struct Types {
    structs: BTreeMap<String, (String, Vec<Field>)>,
    enums: BTreeMap<String, Vec<(String, String)>>,
    /// The word in the file for a variant of an enum.
    words: BTreeMap<(String, String), String>,
}

#[derive(Clone)]
struct Field {
    key: String,
    kind: Type,
    doc: String,
}

impl Types {
    fn read() -> Types {
        let mut types = Types::default();
        let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            for item in syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap().items {
                types.take(item);
            }
        }
        types
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Struct(item) => {
                let Fields::Named(named) = item.fields else { return };
                let fields = named.named.into_iter().filter_map(|field| {
                    let name = field.ident?.to_string();
                    let renamed = RENAMED.iter().find(|(field, _)| *field == name).map(|(_, key)| (*key).to_owned());
                    let key = renamed.unwrap_or(name);
                    let is_key = !NO_KEYS.contains(&&*key);
                    is_key.then(|| Field { key, kind: field.ty, doc: doc(&field.attrs) })
                });
                self.structs.insert(item.ident.to_string(), (doc(&item.attrs), fields.collect()));
            }
            Item::Enum(item) => {
                let variants = item.variants.iter().map(|variant| (variant.ident.to_string(), doc(&variant.attrs)));
                self.enums.insert(item.ident.to_string(), variants.collect());
            }
            Item::Const(item) => {
                let Expr::Array(array) = *item.expr else { return };
                for pair in array.elems {
                    let Expr::Tuple(pair) = pair else { return };
                    if let (Some(Expr::Lit(ExprLit { lit: Lit::Str(word), .. })), Some(Expr::Path(of))) =
                        (pair.elems.get(0), pair.elems.get(1))
                        && let [kind, variant] =
                            &of.path.segments.iter().map(|part| part.ident.to_string()).collect::<Vec<_>>()[..]
                    {
                        self.words.insert((kind.clone(), variant.clone()), word.value());
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes the section of a struct and those below it; notes the keys.
    fn section(&self, name: &str, path: &str, page: &mut String, keys: &mut BTreeSet<String>) {
        let (about, fields) = &self.structs[name];
        if path.is_empty() {
            *page += "\n## The top of the file\n\n";
        } else {
            *page += &format!("\n## `{path}`\n\n{about}\n\n");
        }
        *page += "| key | value | meaning |\n|---|---|---|\n";
        let mut below = Vec::new();
        for field in fields {
            let here = if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
            let mut names = vec![field.key.clone()];
            // A secret may also stand in a file of its own.
            let beside = format!("{}_file", field.key);
            if field.doc.contains(&format!("`{beside}`")) {
                keys.insert(format!("{here}_file"));
                names.push(beside);
            }
            keys.insert(here.clone());
            let (value, deeper) = self.value(&field.kind);
            if let Some((name, suffix)) = deeper {
                below.push((name, format!("{here}{suffix}")));
            }
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            *page += &format!("| {} | {value} | {} |\n", names.join(", "), field.doc.replace('|', "\\|"));
        }
        for (name, path) in below {
            self.section(&name, &path, page, keys);
        }
    }

    /// How a value is written, and the struct that is read below it with what stands between the paths.
    fn value(&self, kind: &Type) -> (String, Option<(String, String)>) {
        let kind = match kind {
            Type::Path(kind) => kind,
            // Of a list of pairs: an address and what is said of it.
            Type::Tuple(pair) => return self.value(&pair.elems[1]),
            Type::Array(_) => return ("text of so many characters".to_owned(), None),
            _ => panic!("a field of an odd type"),
        };
        let last = kind.path.segments.last().unwrap();
        let name = last.ident.to_string();
        let inner: Vec<Type> = match &last.arguments {
            PathArguments::AngleBracketed(list) => list
                .args
                .iter()
                .filter_map(|arg| if let GenericArgument::Type(kind) = arg { Some(kind.clone()) } else { None })
                .collect(),
            _ => Vec::new(),
        };
        let leaf = |text: &str| (text.to_owned(), None);
        let with = |before: &str, suffix: &str, kind: &Type| {
            let (value, deeper) = self.value(kind);
            (format!("{before}{value}"), deeper.map(|(name, path)| (name, format!("{suffix}{path}"))))
        };
        match &*name {
            "Option" => self.value(&inner[0]),
            "Vec" if matches!(inner[0], Type::Tuple(_)) => with("map of addresses: ", "", &inner[0]),
            "Vec" => with("list of: ", "[]", &inner[0]),
            "BTreeMap" if matches!(&inner[0], Type::Path(key) if key.path.is_ident("String")) => {
                with("map of names: ", ".NAME", &inner[1])
            }
            "BTreeMap" => (format!("map of addresses: {}", self.value(&inner[1]).0), None),
            "Duration" => leaf("duration"),
            "u64" => leaf("size"),
            "u16" | "u32" | "usize" => leaf("number"),
            "f64" => leaf("share"),
            "bool" => leaf("`true`, `false`"),
            "PathBuf" => leaf("path"),
            "Address" => leaf("address"),
            "SocketAddr" => leaf("ip:port"),
            "String" | "Secret" => leaf("text"),
            "Levels" => leaf("a level, and behind it `,module=level`"),
            "Workers" => leaf("`auto` or a number"),
            name if self.enums.contains_key(name) => {
                let words = self.enums[name].iter().map(|(variant, doc)| {
                    let word = &self.words[&(name.to_owned(), variant.clone())];
                    format!("`{word}`: {doc}")
                });
                (words.collect::<Vec<_>>().join("<br>"), None)
            }
            name if self.structs.contains_key(name) => ("section".to_owned(), Some((name.to_owned(), String::new()))),
            other => panic!("no word for a value of type {other}"),
        }
    }
}

/// The doc comment in one line; links of rustdoc become plain words.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    // [`Config::allow_insecure`](super::Config::allow_insecure)
    let mut out = String::new();
    let mut rest = &*text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, behind)) = link.split_once("`]") else { break };
        out += &format!("{before}`{}`", name.rsplit("::").next().unwrap_or(name));
        rest = behind.strip_prefix('(').and_then(|target| target.split_once(')')).map_or(behind, |(_, behind)| behind);
    }
    out + rest
}

fn page() -> (String, BTreeSet<String>) {
    let (mut page, mut keys) = (HEAD.to_owned(), BTreeSet::new());
    Types::read().section("Config", "", &mut page, &mut keys);
    (page, keys)
}

#[test]
fn the_page_says_what_the_types_say() {
    let file = File::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let (page, _) = page();
    if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == page,
        "{PAGE} is not what the types say: LARDER_WRITE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_page_has_every_key_that_is_read_and_no_other() {
    let (_, written) = page();
    let draft = Draft::read(&super::example::everything_on(), "everything.yaml").unwrap();
    let shape = |path: &str| {
        let path = path.replace("upstreams.main", "upstreams.NAME").replace("ladders.default", "ladders.NAME");
        path.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
    };
    let asked: BTreeSet<String> = draft.asked().iter().map(|(path, _)| shape(path)).collect();
    let lacking: Vec<_> = asked.difference(&written).collect();
    let idle: Vec<_> = written.difference(&asked).collect();
    assert!(lacking.is_empty(), "read and not on the page: {lacking:?}");
    assert!(idle.is_empty(), "on the page and never read: {idle:?}");
}
