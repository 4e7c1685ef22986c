//! `--upstream URL`: one upstream in one line.
//!
//! | URL | upstream |
//! |---|---|
//! | `redis://[user:pass@]host[:port][/db]`, `rediss://` with TLS | kind redis |
//! | `redis+unix://[user:pass@]/path` | kind redis on a Unix socket |
//! | `redis-cluster://[user:pass@]h1:p,h2:p` | kind redis-cluster |
//! | `redis-sentinel://[user:pass@]h1:p,h2:p/primary-name[/db]` | kind redis-sentinel |
//! | `redis-ring://[user:pass@]h1:p,h2:p[/db]` | kind redis-ring |
//! | `memcached://h1:p,h2:p` | kind memcached |
//! | `memory://` | kind memory |
//!
//! No fault repeats the URL, because it may hold a password.

use super::fault::{Wrong, nearest, shown};
use super::listener::{Address, connectable};
use super::secret::Secret;
use super::upstream::{Kind, Upstream, UpstreamTls};

const EXAMPLE: &str = "write a URL such as redis://127.0.0.1:6379, redis://user:pass@host:6379/0, or memory://";
const SCHEMES: [&str; 8] =
    ["redis", "rediss", "redis+unix", "redis-cluster", "redis-sentinel", "redis-ring", "memcached", "memory"];

/// The upstream that a URL describes, and its name: `memory`, or `main` for all others.
pub(super) fn upstream(url: &str) -> Result<(&'static str, Upstream), Wrong> {
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return Err(Wrong::new("this is not a URL: there is no ://", EXAMPLE));
    };
    if rest.contains(['?', '#']) {
        return Err(Wrong::new(
            "? and # have no meaning in an upstream's URL",
            "write other settings into a file for --config; in a password write %3F and %23",
        ));
    }
    if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Wrong::new("there is a space or a control character in the URL", EXAMPLE));
    }
    // The last @, so that an address can never be taken for part of a password.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut upstream = match scheme {
        "redis" | "rediss" => {
            let mut upstream = Upstream::new(Kind::Redis, addresses(hosts, 6379)?);
            upstream.database = database(path)?;
            upstream.tls = (scheme == "rediss").then(UpstreamTls::default);
            upstream
        }
        "redis+unix" => {
            if !hosts.is_empty() {
                return Err(Wrong::new("a Unix socket has a path and no host", "write redis+unix:///path/of/socket"));
            }
            let path = decoded(path)?;
            Upstream::new(Kind::Redis, vec![Address::from_text(&format!("unix:/{path}"))?])
        }
        "redis-cluster" => {
            empty(path)?;
            Upstream::new(Kind::RedisCluster, addresses(hosts, 6379)?)
        }
        "redis-sentinel" => {
            let mut upstream = Upstream::new(Kind::RedisSentinel, addresses(hosts, 26379)?);
            let (name, db) = path.split_once('/').unwrap_or((path, ""));
            if name.is_empty() {
                return Err(Wrong::new(
                    "the name of the primary is missing",
                    "write redis-sentinel://host:26379/primary-name",
                ));
            }
            upstream.primary_name = Some(decoded(name)?);
            upstream.database = database(db)?;
            upstream
        }
        "redis-ring" => {
            let mut upstream = Upstream::new(Kind::RedisRing, addresses(hosts, 6379)?);
            upstream.database = database(path)?;
            upstream
        }
        "memcached" => {
            empty(path)?;
            Upstream::new(Kind::Memcached, addresses(hosts, 11211)?)
        }
        "memory" if rest.is_empty() && user.is_none() => {
            return Ok(("memory", Upstream::new(Kind::Memory, Vec::new())));
        }
        "memory" => {
            return Err(Wrong::new("memory:// takes nothing after it", "write memory://"));
        }
        other => return Err(unknown_scheme(other)),
    };
    if let Some(user) = user {
        if upstream.kind == Kind::Memcached {
            return Err(Wrong::new("memcached has no users", "remove what stands before the @"));
        }
        log_in(user, &mut upstream)?;
    }
    Ok(("main", upstream))
}

fn unknown_scheme(scheme: &str) -> Wrong {
    let remedy = match nearest(scheme, SCHEMES) {
        Some(near) => format!("did you mean {near}://?"),
        None => format!("the schemes are {}", SCHEMES.join(", ")),
    };
    Wrong::new(format!("{}:// is not known", shown(scheme)), remedy)
}

/// `user:pass`, `:pass`; each part percent-encoded.
fn log_in(text: &str, upstream: &mut Upstream) -> Result<(), Wrong> {
    let Some((user, password)) = text.split_once(':') else {
        return Err(Wrong::new(
            "there is a username and no password before the @",
            "write user:password@, or :password@ without a user",
        ));
    };
    if password.is_empty() {
        return Err(Wrong::new("the password before the @ is empty", "write user:password@, or remove it"));
    }
    if text.contains('/') {
        return Err(Wrong::new("there is a / before the @", "write %2F for a / in a user or password"));
    }
    upstream.username = Some(decoded(user)?).filter(|user| !user.is_empty());
    upstream.password = Some(Secret::new(decoded(password)?));
    Ok(())
}

/// `h1:p,h2:p` with a default port.
fn addresses(text: &str, default_port: u16) -> Result<Vec<Address>, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("there is no host after ://", EXAMPLE));
    }
    let address = |host: &str| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let bare = bracketed || !host.contains(':');
        connectable(match bare {
            true => Address::from_text(&format!("{host}:{default_port}"))?,
            false => Address::from_text(host)?,
        })
    };
    text.split(',').map(address).collect()
}

fn database(path: &str) -> Result<u32, Wrong> {
    let digits = path.bytes().all(|b| b.is_ascii_digit());
    match path.parse() {
        _ if path.is_empty() => Ok(0),
        Ok(number) if digits => Ok(number),
        _ => Err(Wrong::new(
            format!("\"{}\" is not a database number", shown(path)),
            "write the number after the last /, such as /0",
        )),
    }
}

fn empty(path: &str) -> Result<(), Wrong> {
    if path.is_empty() {
        return Ok(());
    }
    Err(Wrong::new("nothing may follow the addresses", "remove the / and what follows it"))
}

/// Percent-decoding; the result must be UTF-8.
fn decoded(text: &str) -> Result<String, Wrong> {
    let wrong =
        || Wrong::new("a % is not followed by two hexadecimal digits of UTF-8 text", "write %25 for a % itself");
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        // Two hexadecimal digits are at most 255.
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_url_carries_user_password_and_database() {
        let (name, upstream) = upstream("redis://app:p%40ss%2Fw@[::1]:7000/3").unwrap();
        assert_eq!(name, "main");
        assert_eq!(upstream.kind, Kind::Redis);
        assert_eq!(upstream.endpoints[0].to_string(), "[::1]:7000");
        assert_eq!(upstream.username.as_deref(), Some("app"));
        assert_eq!(upstream.password.unwrap().expose(), "p@ss/w");
        assert_eq!(upstream.database, 3);
    }

    #[test]
    fn urls_of_clusters_and_sentinels_carry_credentials() {
        for (url, kind, endpoints) in [
            ("redis-cluster://app:p%2Fw@h1:7000,[::1]:7001", Kind::RedisCluster, "h1:7000 [::1]:7001"),
            ("redis-sentinel://app:p%2Fw@h1:26380,h2/prim%20ary/3", Kind::RedisSentinel, "h1:26380 h2:26379"),
        ] {
            let (_, upstream) = upstream(url).unwrap();
            let list: Vec<_> = upstream.endpoints.iter().map(Address::to_string).collect();
            assert_eq!((upstream.kind, &*list.join(" ")), (kind, endpoints), "{url}");
            assert_eq!(upstream.username.as_deref(), Some("app"), "{url}");
            assert_eq!(upstream.password.unwrap().expose(), "p/w", "{url}");
            let sentinel = kind == Kind::RedisSentinel;
            assert_eq!(upstream.primary_name.as_deref(), sentinel.then_some("prim ary"), "{url}");
            assert_eq!(upstream.database, if sentinel { 3 } else { 0 }, "{url}");
        }
    }

    #[test]
    fn each_scheme_has_its_kind_and_port() {
        for (url, kind, endpoints) in [
            ("redis://h", Kind::Redis, "h:6379"),
            ("rediss://h:1/", Kind::Redis, "h:1"),
            ("redis://:secret@[::1]", Kind::Redis, "[::1]:6379"),
            ("redis+unix:///run/r.sock", Kind::Redis, "unix:/run/r.sock"),
            ("redis-cluster://a:1,b", Kind::RedisCluster, "a:1 b:6379"),
            ("redis-sentinel://a,b:2/mymaster", Kind::RedisSentinel, "a:26379 b:2"),
            ("redis-ring://a:1,b/3", Kind::RedisRing, "a:1 b:6379"),
            ("memcached://a,b:2", Kind::Memcached, "a:11211 b:2"),
            ("memory://", Kind::Memory, ""),
        ] {
            let (_, upstream) = upstream(url).unwrap();
            assert_eq!(upstream.kind, kind, "{url}");
            let list: Vec<_> = upstream.endpoints.iter().map(Address::to_string).collect();
            assert_eq!(list.join(" "), endpoints, "{url}");
            assert_eq!(upstream.tls.is_some(), url.starts_with("rediss"), "{url}");
        }
    }

    #[test]
    fn faulty_urls_are_refused_without_repeating_a_password() {
        for url in [
            "",
            "redis",
            "redis://",
            "redis:///0",
            "redis://h:0",
            "redis://h/x",
            "redis://h/+1",
            "redis://user@h",
            "redis://u:@h",
            "redis://u:hunter2%@h",
            "redis://u:hunter2%zz@h",
            "redis://u:hunter2@h:x",
            "redis://u:hunter2@h?db=1",
            "redis://u:hunter2@a b",
            "redis-sentinel://h",
            "redis-cluster://h/1",
            "memcached://u:hunter2@h",
            "memory://x",
            "redis+unix://h/x",
            "http://h",
            "redis://::1:5",
            "redis://u:hun/ter2@h",
            "redis://a,,b",
        ] {
            let wrong = upstream(url).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{url}");
        }
        assert!(upstream("reds://h").unwrap_err().remedy.contains("redis://"));
    }
}
