//! What Sentinels and servers say of a primary and its replicas, read from their replies.
//!
//! Pure, like [`super::shards`]: bytes in, facts out. How they are to be asked is told in
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use super::shards::{Unusable, list, unusable, word};
use crate::resp::view::View;

/// Host and port.
pub type Place = (String, u16);

/// The most replicas or Sentinels of one reply that are taken in.
const MAX_PLACES: usize = 256;

/// What a server is, by its own word: the first element of ROLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Replica,
    /// It is no data server at all.
    Sentinel,
}

/// Reads SENTINEL GET-MASTER-ADDR-BY-NAME: where the primary is, or nothing if that Sentinel does not know the name.
///
/// # Errors
/// What is wrong with the reply.
pub fn primary(reply: &[u8]) -> Result<Option<Place>, Unusable> {
    const COMMAND: &str = "SENTINEL GET-MASTER-ADDR-BY-NAME";
    if View::whole(reply) == Ok(View::Null) {
        return Ok(None);
    }
    let mut parts = list(reply, COMMAND)?;
    let place = place(parts.view(), parts.view());
    place.map(Some).ok_or_else(|| unusable(format!("the {COMMAND} reply holds no address")))
}

/// Reads SENTINEL REPLICAS: those that can be read from. Left out is who is down, has lost its primary, or does not
/// want to be announced.
///
/// # Errors
/// What is wrong with the reply.
pub fn replicas(reply: &[u8]) -> Result<Vec<Place>, Unusable> {
    let replicas = list(reply, "SENTINEL REPLICAS")?.take(MAX_PLACES).filter_map(View::of);
    Ok(replicas.filter(|replica| readable(*replica)).filter_map(described).collect())
}

/// Reads SENTINEL SENTINELS: where the others are, up or down, to be asked when this one is gone.
///
/// # Errors
/// What is wrong with the reply.
pub fn sentinels(reply: &[u8]) -> Result<Vec<Place>, Unusable> {
    let sentinels = list(reply, "SENTINEL SENTINELS")?.take(MAX_PLACES).filter_map(View::of);
    Ok(sentinels.filter_map(described).collect())
}

/// Reads ROLE.
///
/// # Errors
/// What is wrong with the reply.
pub fn role(reply: &[u8]) -> Result<Role, Unusable> {
    match list(reply, "ROLE")?.view().and_then(View::text) {
        Some(b"master") => Ok(Role::Primary),
        Some(b"slave") => Ok(Role::Replica),
        Some(b"sentinel") => Ok(Role::Sentinel),
        _ => Err(unusable("the ROLE reply names no known role")),
    }
}

/// The address of a server that is described by its fields.
fn described(server: View<'_>) -> Option<Place> {
    place(server.field(b"ip"), server.field(b"port"))
}

fn readable(replica: View<'_>) -> bool {
    const UNFIT: [&[u8]; 4] = [b"s_down", b"o_down", b"disconnected", b"master_down"];
    let text = |field: &[u8]| replica.field(field).and_then(View::text);
    let flags = text(b"flags").unwrap_or_default();
    let fit = !flags.split(|byte| *byte == b',').any(|flag| UNFIT.contains(&flag));
    let linked = text(b"master-link-status").is_none_or(|status| status == b"ok");
    let announced = text(b"replica-announced").is_none_or(|announced| announced != b"0");
    fit && linked && announced
}

fn place(host: Option<View<'_>>, port: Option<View<'_>>) -> Option<Place> {
    let host = host.and_then(View::text).and_then(word)?;
    let port = port.and_then(View::integer).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reply in which every server is a list of bulk strings, name and value in turn.
    fn servers(servers: &[&str]) -> Vec<u8> {
        let mut reply = format!("*{}\r\n", servers.len());
        for server in servers {
            let words: Vec<&str> = server.split(' ').collect();
            reply += &format!("*{}\r\n", words.len());
            words.iter().for_each(|word| reply += &format!("${}\r\n{word}\r\n", word.len()));
        }
        reply.into_bytes()
    }

    fn of(list: &[(&str, u16)]) -> Vec<Place> {
        list.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
    }

    #[test]
    fn the_primary_is_an_address_or_not_known() {
        let reply = b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n";
        assert_eq!(primary(reply), Ok(Some(("127.0.0.1".into(), 6379))));
        assert_eq!(primary(b"*-1\r\n"), Ok(None));
        assert_eq!(primary(b"_\r\n"), Ok(None));
        for reply in
            ["*0\r\n", "*2\r\n$0\r\n\r\n$1\r\n1\r\n", "*2\r\n+h\r\n+0\r\n", "*2\r\n+h\r\n+65536\r\n", "+OK\r\n"]
        {
            assert!(primary(reply.as_bytes()).is_err(), "{reply:?}");
        }
        let refused = primary(b"-IDONTKNOW nothing yet\r\n").unwrap_err().to_string();
        assert!(refused.contains("IDONTKNOW nothing yet"), "{refused}");
    }

    #[test]
    fn replicas_that_are_down_or_cut_off_are_left_out() {
        let reply = servers(&[
            "name a ip h1 port 1 flags slave master-link-status ok replica-announced 1",
            "name b ip h2 port 2 flags s_down,slave master-link-status ok",
            "name c ip h3 port 3 flags slave,disconnected master-link-status ok",
            "name d ip h4 port 4 flags slave,o_down",
            "name e ip h5 port 5 flags slave master-link-status err",
            "name f ip h6 port 6 flags slave replica-announced 0",
            "name g port 7 flags slave",
            "name h ip ::1 port 8 flags slave",
        ]);
        assert_eq!(replicas(&reply), Ok(of(&[("h1", 1), ("::1", 8)])));
        let maps = b"*1\r\n%3\r\n+ip\r\n+h\r\n+port\r\n+9\r\n+flags\r\n+slave\r\n";
        assert_eq!(replicas(maps), Ok(of(&[("h", 9)])));
        assert!(replicas(b"-ERR No such master with that name\r\n").is_err());
    }

    #[test]
    fn other_sentinels_are_kept_whatever_state_they_are_in() {
        let reply = servers(&["name a ip h1 port 1 flags sentinel", "name b ip h2 port 2 flags s_down,sentinel"]);
        assert_eq!(sentinels(&reply), Ok(of(&[("h1", 1), ("h2", 2)])));
        assert_eq!(sentinels(b"*0\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_role_is_its_first_word() {
        assert_eq!(role(b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n"), Ok(Role::Primary));
        assert_eq!(role(b"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:7\r\n"), Ok(Role::Replica));
        assert_eq!(role(b"*2\r\n$8\r\nsentinel\r\n*0\r\n"), Ok(Role::Sentinel));
        assert!(role(b"*1\r\n$1\r\nx\r\n").is_err());
        assert!(role(b"*0\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_reply_panics(reply in "([*~%$:+_-][0-9-]{0,3}\r\n|[a-z]{1,4}\r\n|\\*2\r\n|\\$2\r\nip\r\n|\\+h\r\n|\\+1\r\n){0,20}") {
            let _ = (primary(reply.as_bytes()), replicas(reply.as_bytes()), sentinels(reply.as_bytes()), role(reply.as_bytes()));
        }

        #[test]
        fn no_bytes_panic(reply in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (primary(&reply), replicas(&reply), sentinels(&reply), role(&reply));
        }
    }
}
