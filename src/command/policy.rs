//! How a command is spread over an upstream of several nodes, and how their replies become one.
//!
//! Redis says so itself, in the tips of COMMAND (`request_policy:all_shards`, `response_policy:agg_sum`; the words are
//! those of <https://redis.io/docs/latest/develop/reference/command-tips/>). A column overrides them only where there
//! are none that a proxy can use, each with its reason beside it in `columns/rows.rs`.
//!
//! What was said of a command and cannot be done is taken for [`RequestPolicy::Special`], which no node is asked for: a
//! reply from some node would pass for one of the whole.

use super::columns::Row;
use super::keys::{Begin, Find, KeySpec};
use crate::resp::gather::How;

/// Which nodes of an upstream a command goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// The owner of its keys; without keys, any one.
    Default,
    /// All of them, replicas too.
    AllNodes,
    /// Every primary.
    AllShards,
    /// The owner of each of its keys, with the arguments that belong to these keys.
    MultiShard,
    /// None of these ways fits: SCAN has one of its own, and all others make sense only for a node that the client can
    /// name (SHUTDOWN, REPLICAOF, DEBUG, ...).
    Special,
}

/// How the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// With keys: every element where its key stood. Without: one list of what is in all.
    Default,
    /// The first that is no error.
    OneSucceeded,
    /// The first, when none is an error.
    AllSucceeded,
    /// 1 where all say 1.
    AggLogicalAnd,
    /// 1 where any says 1.
    AggLogicalOr,
    /// The least.
    AggMin,
    /// The greatest.
    AggMax,
    /// The sum.
    AggSum,
    /// Redis has no rule.
    Special,
    /// Not Redis's, who has no rule for RANDOMKEY: one that is not null.
    OneNotNull,
    /// Not Redis's, who has no rule for reports (MEMORY DOCTOR): one below the other.
    Texts,
}

/// Redis's words.
const REQUESTS: [(&str, RequestPolicy); 4] = [
    ("all_nodes", RequestPolicy::AllNodes),
    ("all_shards", RequestPolicy::AllShards),
    ("multi_shard", RequestPolicy::MultiShard),
    ("special", RequestPolicy::Special),
];

/// Redis's words.
const RESPONSES: [(&str, ResponsePolicy); 8] = [
    ("one_succeeded", ResponsePolicy::OneSucceeded),
    ("all_succeeded", ResponsePolicy::AllSucceeded),
    ("agg_logical_and", ResponsePolicy::AggLogicalAnd),
    ("agg_logical_or", ResponsePolicy::AggLogicalOr),
    ("agg_min", ResponsePolicy::AggMin),
    ("agg_max", ResponsePolicy::AggMax),
    ("agg_sum", ResponsePolicy::AggSum),
    ("special", ResponsePolicy::Special),
];

/// The policies of a row: what the columns say, else what the tips tell.
pub(super) fn of(row: Option<&Row>, tips: &[Box<str>], keys: &[KeySpec]) -> (RequestPolicy, ResponsePolicy) {
    let told = |what: &str| tips.iter().find_map(|tip| tip.strip_prefix(what)?.strip_prefix(':'));
    // A word that this version does not know is a rule that it does not know.
    let request = match told("request_policy") {
        Some(word) => named(&REQUESTS, word).unwrap_or(RequestPolicy::Special),
        None => RequestPolicy::Default,
    };
    let response = match told("response_policy") {
        Some(word) => named(&RESPONSES, word).unwrap_or(ResponsePolicy::Special),
        None => ResponsePolicy::Default,
    };
    let request = row.and_then(|row| row.request).unwrap_or(request);
    let response = row.and_then(|row| row.response).unwrap_or(response);
    match request {
        // Split by keys only where that is nothing but dealing out the arguments; else its keys must lie together.
        RequestPolicy::MultiShard if step(keys).is_none() => (RequestPolicy::Default, response),
        RequestPolicy::AllNodes | RequestPolicy::AllShards | RequestPolicy::MultiShard
            if response == ResponsePolicy::Special =>
        {
            (RequestPolicy::Special, response)
        }
        request => (request, response),
    }
}

fn named<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, policy)| *policy)
}

/// How many arguments belong to each key of a command that is nothing but its name and such groups: 1 for MGET, 2 for
/// MSET; `None` for any other.
pub(super) fn step(keys: &[KeySpec]) -> Option<usize> {
    match keys {
        [KeySpec { begin: Begin::Index(1), find: Find::Range { last: -1, step, limit: 0 | 1 }, .. }] => Some(*step),
        _ => None,
    }
}

impl ResponsePolicy {
    /// How the replies of a command that went to several nodes whole are joined; `pick` chooses where any one will do.
    /// `None` if there is no rule, which is never so for a command that is sent to several nodes.
    pub fn how(self, pick: u64) -> Option<How> {
        match self {
            Self::Default => Some(How::Concat),
            Self::OneSucceeded => Some(How::OneSucceeded),
            Self::AllSucceeded => Some(How::AllSucceeded),
            Self::AggLogicalAnd => Some(How::And),
            Self::AggLogicalOr => Some(How::Or),
            Self::AggMin => Some(How::Min),
            Self::AggMax => Some(How::Max),
            Self::AggSum => Some(How::Sum),
            Self::OneNotNull => Some(How::Any(pick)),
            Self::Texts => Some(How::Texts),
            Self::Special => None,
        }
    }

    /// The same for a command that was split by its keys: `places` says for each part where its keys stood, counted
    /// from 0.
    pub fn how_by_keys(self, places: Vec<Vec<u32>>) -> Option<How> {
        match self {
            Self::Default => Some(How::Places(places)),
            other => other.how(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Spec;
    use crate::command::testing::table;
    use crate::command::{Effect, Flags};

    fn policies(name: &str) -> (RequestPolicy, ResponsePolicy) {
        let spec = table().find_full(name.as_bytes()).cloned().expect("a known command");
        (spec.request, spec.response)
    }

    #[test]
    fn the_tips_of_redis_are_believed() {
        use RequestPolicy as Request;
        use ResponsePolicy as Response;
        for (name, request, response) in [
            ("get", Request::Default, Response::Default),
            ("dbsize", Request::AllShards, Response::AggSum),
            ("del", Request::MultiShard, Response::AggSum),
            ("exists", Request::MultiShard, Response::AggSum),
            ("flushall", Request::AllShards, Response::AllSucceeded),
            ("function|kill", Request::AllShards, Response::OneSucceeded),
            ("keys", Request::AllShards, Response::Default),
            ("mget", Request::MultiShard, Response::Default),
            ("mset", Request::MultiShard, Response::AllSucceeded),
            ("scan", Request::Special, Response::Default),
            ("script|exists", Request::AllShards, Response::AggLogicalAnd),
            ("script|load", Request::AllNodes, Response::AllSucceeded),
            ("slowlog|len", Request::AllNodes, Response::AggSum),
            ("touch", Request::MultiShard, Response::AggSum),
            ("unlink", Request::MultiShard, Response::AggSum),
            ("wait", Request::AllShards, Response::AggMin),
        ] {
            assert_eq!(policies(name), (request, response), "{name}");
        }
    }

    #[test]
    fn columns_say_what_the_tips_do_not() {
        use RequestPolicy as Request;
        use ResponsePolicy as Response;
        for (name, request, response) in [
            ("acl|setuser", Request::AllNodes, Response::AllSucceeded),
            ("bgsave", Request::AllShards, Response::AllSucceeded),
            ("config|rewrite", Request::AllNodes, Response::AllSucceeded),
            ("debug", Request::Special, Response::Default),
            ("lastsave", Request::AllShards, Response::AggMin),
            ("latency|history", Request::AllNodes, Response::Default),
            ("memory|doctor", Request::AllShards, Response::Texts),
            ("memory|stats", Request::Default, Response::Special),
            ("msetnx", Request::Default, Response::AggMin),
            ("randomkey", Request::AllShards, Response::OneNotNull),
            ("shutdown", Request::Special, Response::Default),
        ] {
            assert_eq!(policies(name), (request, response), "{name}");
        }
    }

    #[test]
    fn what_goes_to_several_nodes_can_be_joined() {
        let table = table();
        let all: Vec<&Spec> = table
            .iter()
            .flat_map(|spec| std::iter::once(&**spec).chain(spec.subcommands.iter().map(|sub| &**sub)))
            .collect();
        for spec in all {
            match spec.request {
                RequestPolicy::AllNodes | RequestPolicy::AllShards => {
                    assert!(spec.response.how(0).is_some() && spec.keys.is_empty(), "{}", spec.name);
                }
                RequestPolicy::MultiShard => {
                    assert!(spec.response.how_by_keys(Vec::new()).is_some(), "{}", spec.name);
                    assert!(spec.split_step().is_some() && spec.keys_complete, "{}", spec.name);
                    assert!(matches!(spec.effect, Effect::Read | Effect::Write(_)), "{}", spec.name);
                }
                RequestPolicy::Default | RequestPolicy::Special => {}
            }
            // A write that names no node is either of keys, or spread on purpose.
            if spec.request == RequestPolicy::Default && spec.flags.has(Flags::ADMIN) && spec.keys.is_empty() {
                assert!(!matches!(spec.effect, Effect::Everything), "{}: of which node?", spec.name);
            }
        }
    }

    #[test]
    fn what_cannot_be_spread_as_told_is_not_spread() {
        let tips = |words: &[&str]| -> Vec<Box<str>> { words.iter().map(|word| (*word).into()).collect() };
        let request = |words: &[&str]| of(None, &tips(words), &[]).0;
        assert_eq!(request(&[]), RequestPolicy::Default);
        assert_eq!(request(&["request_policy:all_shards"]), RequestPolicy::AllShards);
        assert_eq!(request(&["request_policy:some_moons"]), RequestPolicy::Special);
        assert_eq!(request(&["request_policy:all_shards", "response_policy:special"]), RequestPolicy::Special);
        assert_eq!(request(&["request_policy:all_shards", "response_policy:agg_moons"]), RequestPolicy::Special);
        assert_eq!(request(&["request_policy:multi_shard"]), RequestPolicy::Default, "it has no keys to go by");
        assert_eq!(request(&["request_policy", "xrequest_policy:all_nodes"]), RequestPolicy::Default);
    }
}
