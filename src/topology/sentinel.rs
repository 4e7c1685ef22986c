//! Following the primary that Sentinels name.
//!
//! All Sentinels that are known are asked, and the highest configuration epoch is believed: it grows with every failover,
//! so a Sentinel that was cut off repeats an old one. The server that is named has to say itself that it is a primary
//! (ROLE, on every connection to it) before anything is sent to it. They are asked at regular times, when somebody has reason to
//! doubt, and when one of them tells of a switch. Source: <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use std::sync::Arc;

use super::news::News;
use super::talk::{Answers, Talk};
use super::{adopt, rest};
use crate::app::App;
use crate::config::{Address, Upstream};
use crate::origin::map::Primary;
use crate::origin::{Map, Origin};
use crate::resp::view::View;
use crate::upstream::endpoint::Duty;
use crate::upstream::sentinel::{Place, primary, replicas, sentinels};

/// The epoch comes before and after the address: only if it is the same both times does it belong to it.
const QUESTIONS: &[&[&str]] = &[
    &["SENTINEL", "MASTER"],
    &["SENTINEL", "GET-MASTER-ADDR-BY-NAME"],
    &["SENTINEL", "MASTER"],
    &["SENTINEL", "REPLICAS"],
    &["SENTINEL", "SENTINELS"],
];
/// Rounds in which the most of the Sentinels have to repeat a view older than the one in place, before it is taken: they were
/// set up anew. One that was cut off is never most of them.
const PATIENCE: u32 = 20;

/// What a Sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    epoch: u64,
    primary: Place,
    replicas: Vec<Place>,
    others: Vec<Place>,
}

pub(super) async fn keep(app: &Arc<App>, origin: &Origin, upstream: &Upstream, first: impl Fn()) {
    let name = upstream.primary_name.as_deref().unwrap_or_default();
    // Sentinels have users of their own; without a key for theirs they are spoken to without.
    let mut talk = Talk::new(&origin.model, None, upstream.health_check.timeout);
    let mut news = News::default();
    let mut others: Vec<Address> = Vec::new();
    let (mut adopted, mut complaint): (Option<Seen>, String) = (None, String::new());
    let mut behind = 0;
    loop {
        let mut whom = upstream.endpoints.clone();
        whom.extend(others.iter().filter(|other| !upstream.endpoints.contains(other)).cloned());
        talk.keep_only(&whom);
        news.listen_to(app, origin.number, &whom);
        let mut why = String::new();
        let mut views = Vec::new();
        for (address, answer) in talk.ask(&whom, QUESTIONS, Some(name)).await {
            match answer.and_then(|answers| seen(name, &answers)) {
                Ok(seen) => views.push(seen),
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        let best = newest(&views, adopted.as_ref());
        behind = match (best, &adopted) {
            (Some(best), Some(adopted)) if best.epoch < adopted.epoch && agreed(&views, best) => behind + 1,
            _ => 0,
        };
        match best {
            Some(seen) if adopted.as_ref().is_none_or(|adopted| seen.epoch >= adopted.epoch) || behind > PATIENCE => {
                complaint.clear();
                others = seen.others.iter().map(address).collect();
                let same = |adopted: &Seen| (&adopted.primary, &adopted.replicas) == (&seen.primary, &seen.replicas);
                if !adopted.as_ref().is_some_and(same) {
                    let (host, port) = &seen.primary;
                    tracing::info!(upstream = %origin.name, "the primary is {host}:{port}, epoch {}", seen.epoch);
                    adopt(app, origin, map_of(origin, seen));
                }
                adopted = Some(seen.clone());
                first();
            }
            // Everybody repeats an old view: who knew the new one is away.
            Some(_) => {}
            None if complaint != why => {
                tracing::warn!(upstream = %origin.name, "no Sentinel tells who the primary is: {why}");
                complaint = why;
            }
            None => {}
        }
        rest(origin, upstream).await;
    }
}

/// The view of the highest epoch; among those, the one that is in place already.
fn newest<'a>(views: &'a [Seen], adopted: Option<&Seen>) -> Option<&'a Seen> {
    let in_place = |seen: &Seen| adopted.is_some_and(|adopted| adopted.primary == seen.primary);
    views.iter().max_by_key(|seen| (seen.epoch, in_place(seen)))
}

/// Whether most of all Sentinels that there are, by its own word, see it as this one does.
fn agreed(views: &[Seen], view: &Seen) -> bool {
    let alike = views.iter().filter(|seen| (seen.epoch, &seen.primary) == (view.epoch, &view.primary)).count();
    alike > view.others.len().div_ceil(2)
}

fn seen(name: &str, answers: &Answers) -> Result<Seen, String> {
    let [before, place, after, followers, others] = &answers[..] else { return Err("an answer is missing".to_owned()) };
    let epoch = epoch(name, before)?;
    if self::epoch(name, after)? != epoch {
        return Err("the primary was replaced while it was asked".to_owned());
    }
    let place = primary(place).map_err(|error| error.to_string())?;
    let mut replicas = replicas(followers).unwrap_or_default();
    replicas.sort();
    Ok(Seen {
        epoch,
        primary: place.ok_or("it names no address")?,
        replicas,
        others: sentinels(others).unwrap_or_default(),
    })
}

/// The configuration epoch in the reply to SENTINEL MASTER. The address in it is that of the old primary for a moment when
/// the epoch is that of the new one.
fn epoch(name: &str, reply: &[u8]) -> Result<u64, String> {
    let view = View::whole(reply).map_err(|error| error.to_string())?;
    if let View::Error(error) = view {
        return Err(format!("it does not know '{name}' ({})", String::from_utf8_lossy(error)));
    }
    let text = view.field(b"config-epoch").and_then(View::text).and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|epoch| epoch.parse().ok()).ok_or_else(|| "it tells no config-epoch".to_owned())
}

fn address((host, port): &Place) -> Address {
    Address::Tcp { host: host.clone(), port: *port }
}

fn map_of(origin: &Origin, seen: &Seen) -> Map {
    let replicas = seen.replicas.iter().filter(|place| **place != seen.primary);
    let replicas = replicas.map(|place| origin.node(&address(place), Duty::Replica)).collect();
    Map::of_one(Primary { node: origin.node(&address(&seen.primary), Duty::Primary), replicas })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(epoch: u64, primary: &str, others: usize) -> Seen {
        let others = (0..others).map(|number| ("s".to_owned(), number as u16 + 1)).collect();
        Seen { epoch, primary: (primary.to_owned(), 6379), replicas: Vec::new(), others }
    }

    #[test]
    fn the_highest_epoch_is_believed_and_an_equal_one_changes_nothing() {
        let (old, new) = (view(1, "old", 2), view(2, "new", 2));
        assert_eq!(newest(&[old.clone(), new.clone(), old.clone()], Some(&old)), Some(&new));
        let other = view(2, "other", 2);
        for views in [[new.clone(), other.clone()], [other.clone(), new.clone()]] {
            assert_eq!(newest(&views, Some(&new)), Some(&new));
            assert_eq!(newest(&views, Some(&other)), Some(&other));
        }
        assert_eq!(newest(&[], Some(&new)), None);
    }

    #[test]
    fn one_that_was_cut_off_is_not_most_of_them() {
        let view = view(0, "old", 2);
        assert!(!agreed(std::slice::from_ref(&view), &view));
        assert!(agreed(&[view.clone(), view.clone()], &view));
        let only = self::view(0, "p", 0);
        assert!(agreed(std::slice::from_ref(&only), &only), "there is but one");
    }

    #[test]
    fn an_epoch_that_changed_meanwhile_belongs_to_no_address() {
        let master = |epoch: u64| format!("*2\r\n$12\r\nconfig-epoch\r\n$1\r\n{epoch}\r\n").into_bytes();
        let place = b"*2\r\n$4\r\nhost\r\n$4\r\n6379\r\n".to_vec();
        let none = b"*0\r\n".to_vec();
        let answers = |after| vec![master(1), place.clone(), master(after), none.clone(), none.clone()];
        assert_eq!(seen("p", &answers(1)), Ok(self::view(1, "host", 0)));
        assert!(seen("p", &answers(2)).is_err());
    }
}
