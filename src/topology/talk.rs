//! Connections over which servers and Sentinels are asked about the topology: kept open, made anew when they break.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::Address;
use crate::resp::Proto;
use crate::upstream::endpoint::Duty;
use crate::upstream::wire::{self, Wire};
use crate::upstream::{Credentials, Endpoint, Identity};

/// Those who are asked.
pub(super) struct Talk {
    model: Endpoint,
    credentials: Option<Arc<Credentials>>,
    open: HashMap<Address, Wire>,
}

/// What one of them answered, to each question in turn.
pub(super) type Answers = Vec<Vec<u8>>;

impl Talk {
    /// Nobody has been asked yet. However long a client's command may take, one that is silent for the time of a health
    /// check does not keep the others' answers from being heard.
    pub(super) fn new(model: &Endpoint, credentials: Option<Arc<Credentials>>, patience: Duration) -> Self {
        let connect_timeout = model.connect_timeout.min(patience);
        let model = Endpoint { connect_timeout, command_timeout: patience, ..model.clone() };
        Self { model, credentials, open: HashMap::new() }
    }

    /// Asks several at once; what each of them answered, or why it did not.
    pub(super) async fn ask(
        &mut self,
        whom: &[Address],
        questions: &'static [&'static [&'static str]],
        name: Option<&str>,
    ) -> Vec<(Address, Result<Answers, String>)> {
        let mut asked = JoinSet::new();
        for address in whom {
            let wire = self.open.remove(address);
            let endpoint = self.model.at(address.clone(), Duty::Any);
            let (credentials, name) = (self.credentials.clone(), name.map(str::to_owned));
            asked.spawn(async move { one(endpoint, credentials, wire, questions, name.as_deref()).await });
        }
        let mut answers = Vec::new();
        while let Some(done) = asked.join_next().await {
            let Ok((address, wire, answer)) = done else { continue };
            if let Some(wire) = wire {
                self.open.insert(address.clone(), wire);
            }
            answers.push((address, answer));
        }
        answers
    }

    /// Forgets those who are not in the list.
    pub(super) fn keep_only(&mut self, known: &[Address]) {
        self.open.retain(|address, _| known.contains(address));
    }
}

type Asked = (Address, Option<Wire>, Result<Answers, String>);

async fn one(
    endpoint: Endpoint,
    credentials: Option<Arc<Credentials>>,
    wire: Option<Wire>,
    questions: &[&[&str]],
    name: Option<&str>,
) -> Asked {
    let limit = endpoint.command_timeout;
    // A connection that was kept may have broken since: then a new one is made, once.
    if let Some(mut wire) = wire
        && let Ok(answers) = put(&mut wire, questions, name, limit).await
    {
        return (endpoint.address, Some(wire), Ok(answers));
    }
    let identity = Identity { database: 0, proto: Proto::Resp2, credentials };
    match wire::open(&endpoint, &identity, "larder-topology", &[]).await {
        Err(failure) => (endpoint.address.clone(), None, Err(endpoint.error(&failure))),
        Ok(mut wire) => match put(&mut wire, questions, name, limit).await {
            Ok(answers) => (endpoint.address, Some(wire), Ok(answers)),
            Err(error) => (endpoint.address, None, Err(error.to_string())),
        },
    }
}

async fn put(wire: &mut Wire, questions: &[&[&str]], name: Option<&str>, limit: Duration) -> std::io::Result<Answers> {
    let mut answers = Vec::new();
    for question in questions {
        let words: Vec<&[u8]> = question.iter().copied().chain(name).map(str::as_bytes).collect();
        answers.push(wire.ask(&words, limit).await?);
    }
    Ok(answers)
}
