//! What is for administrators: the commands that Redis itself counts as administration, from CONFIG SET to SHUTDOWN.
//!
//! Larder speaks to the upstream as one user for many clients, so that whoever reaches Larder would be an administrator
//! if that user is one. They are therefore forwarded only where the configuration says so (`allow_admin`).
//!
//! The refusal is a NOPERM, the word for a command that a user may not run: client libraries take it for final and raise
//! what they raise for an ACL that forbids it. (LOADING, MASTERDOWN, TRYAGAIN and their like would be tried again.)

use crate::command::Spec;
use crate::worker::Worker;

/// Why a command is not forwarded for anybody, if it is not.
#[inline]
pub fn refusal(worker: &Worker, spec: &Spec) -> Option<String> {
    // The memory upstream has no administration, and says so itself.
    (spec.admin && !worker.rules().config.allow_admin && worker.app.origins().next().is_some()).then(|| {
        let name = spec.name.replace('|', " ").to_ascii_uppercase();
        format!("NOPERM Larder does not forward {name}: admin commands are off (allow_admin)")
    })
}
