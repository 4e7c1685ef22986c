//! The table: all rows, found by name.

use std::sync::Arc;

use super::columns::Way;
use super::data::{self, Line};
use super::facts::Facts;
use super::names::Names;
use super::refusal::CommandError;
use super::spec::{Origin, Spec};
use super::upstream;
use crate::resp::Command;

#[cfg(test)]
mod tests;

/// Every command that is known, at home or to the upstream.
#[derive(Clone, Debug)]
pub struct Table {
    /// Sorted by name.
    rows: Box<[Arc<Spec>]>,
    names: Names,
    /// For commands that are in no row.
    stranger: Arc<Spec>,
}

impl Table {
    /// The table of the committed data and the proxy's own columns.
    pub fn builtin() -> Self {
        let mut facts: Vec<Facts> = data::redis().iter().map(documented).collect();
        for line in data::own() {
            let own = documented(&line);
            let container = line.name.split('|').next().unwrap_or(line.name);
            match facts.iter_mut().find(|facts| &*facts.name == container) {
                Some(container) => container.subcommands.push(own),
                None => facts.push(own),
            }
        }
        Self::of(facts.into_iter().map(|facts| Arc::new(row(facts, None, Origin::Builtin))).collect())
    }

    /// This table with what an upstream says of its commands: `reply` is its answer to COMMAND, in either protocol
    /// version.
    ///
    /// Rows that this table lacks are added with careful columns; the facts of the others are replaced. Rows that the
    /// upstream lacks stay: it will refuse them itself.
    ///
    /// # Errors
    /// What is wrong with the reply, in words.
    pub fn with_upstream(&self, reply: &[u8]) -> Result<Self, String> {
        let mut rows = self.rows.to_vec();
        for facts in upstream::rows(reply)? {
            match self.names.find(facts.name.as_bytes()) {
                Some(index) => rows[index] = Arc::new(row(facts, Some(&self.rows[index]), Origin::Upstream)),
                None => rows.push(Arc::new(row(facts, None, Origin::Upstream))),
            }
        }
        Ok(Self::of(rows))
    }

    fn of(mut rows: Vec<Arc<Spec>>) -> Self {
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows.dedup_by(|b, a| a.name == b.name);
        let names = Names::new(rows.iter().map(|row| row.name.as_bytes()));
        Self { rows: rows.into(), names, stranger: Arc::new(Spec::of_stranger()) }
    }

    /// The row of a top-level command, whatever the case of its name.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Spec>> {
        self.names.find(name).map(|index| &self.rows[index])
    }

    /// The row of a command or subcommand by its full name, as COMMAND INFO takes it: `get`, `config|get`.
    pub fn find_full(&self, name: &[u8]) -> Option<&Arc<Spec>> {
        match name.iter().position(|byte| *byte == b'|') {
            Some(bar) => self.find(&name[..bar])?.subcommand(&name[bar + 1..]),
            None => self.find(name),
        }
    }

    /// The row of `cmd`: of its subcommand, where it has one.
    ///
    /// # Errors
    /// There is no such command or subcommand, or it takes another number of arguments.
    #[inline]
    pub fn resolve(&self, cmd: &Command<'_>) -> Result<&Arc<Spec>, CommandError> {
        let spec = self.lookup(cmd)?;
        if spec.admits(cmd.len()) { Ok(spec) } else { Err(CommandError::arity(spec)) }
    }

    /// As [`Table::resolve`], whatever the number of arguments.
    ///
    /// # Errors
    /// There is no such command or subcommand.
    #[inline]
    pub fn lookup(&self, cmd: &Command<'_>) -> Result<&Arc<Spec>, CommandError> {
        let spec = self.find(cmd.name()).ok_or_else(|| CommandError::unknown(cmd))?;
        if spec.subcommands.is_empty() {
            return Ok(spec);
        }
        // A container alone lacks an argument, except COMMAND, which is a command as well.
        let Some(name) = cmd.opt(1) else {
            return Ok(spec);
        };
        spec.subcommand(name).ok_or_else(|| CommandError::unknown_subcommand(spec, name))
    }

    /// The row under which a command that has none may be sent to the upstream, which may know it; its answer is the
    /// upstream's. `None` for a subcommand of a container that Larder answers itself, wholly or in part.
    pub fn stranger(&self, cmd: &Command<'_>) -> Option<&Arc<Spec>> {
        let forwarded = |spec: &Arc<Spec>| spec.subcommands.iter().all(|sub| sub.way == Way::Forward);
        match self.find(cmd.name()) {
            None => Some(&self.stranger),
            Some(spec) if spec.subcommands.is_empty() || !forwarded(spec) => None,
            Some(spec) => match cmd.opt(1) {
                Some(name) if spec.subcommand(name).is_none() => Some(&self.stranger),
                _ => None,
            },
        }
    }

    /// The top-level rows, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Spec>> {
        self.rows.iter()
    }
}

fn documented(line: &Line<'_>) -> Facts {
    // The data are part of the program, and a test reads all of them.
    let mut facts = Facts::read(&line.info).expect("the committed rows are rows");
    facts.document(&line.docs);
    facts
}

/// A row with its subcommands: those of `before` that `facts` do not mention stay.
fn row(mut facts: Facts, before: Option<&Spec>, origin: Origin) -> Spec {
    let told = std::mem::take(&mut facts.subcommands);
    let mut spec = Spec::join(facts, before, None, origin);
    let mut subcommands: Vec<Arc<Spec>> = before.map_or_else(Vec::new, |before| before.subcommands.to_vec());
    for facts in told {
        let known = subcommands.iter().position(|sub| sub.name == facts.name);
        let before = known.map(|index| Arc::clone(&subcommands[index]));
        let sub = Arc::new(Spec::join(facts, before.as_deref(), Some(&spec), origin));
        match known {
            Some(index) => subcommands[index] = sub,
            None => subcommands.push(sub),
        }
    }
    subcommands.sort_by(|a, b| a.name.cmp(&b.name));
    spec.subcommands = subcommands.into();
    spec
}
