//! What one client has asked for with CLIENT TRACKING and CLIENT CACHING.
//!
//! The rules and words are those of Redis 7.0; <https://redis.io/docs/latest/commands/client-tracking/>.

use super::broadcast::Listening;

/// The tracking of one client, while it is on.
#[derive(Debug)]
pub struct Tracking {
    /// Which reads are tracked.
    pub mode: Mode,
    /// Its own writes are not told.
    pub noloop: bool,
    /// To whom messages go; 0 for the client itself.
    pub redirect: u64,
    /// CLIENT CACHING was said for the next command.
    pub caching: bool,
    /// Replies after which keys are to be told as changed: a place in the line, and the keys.
    pub after: Vec<(u64, After)>,
}

/// What follows a reply.
#[derive(Debug)]
pub enum After {
    /// The reply is not tracked: its keys are told as changed.
    Read(Vec<Box<[u8]>>),
    /// The client's own write of these keys; told as changed if it failed.
    OwnWrite(Vec<Box<[u8]>>),
}

/// Which reads are tracked.
#[derive(Debug)]
pub enum Mode {
    /// All.
    Default,
    /// Those behind CLIENT CACHING YES.
    OptIn,
    /// All but those behind CLIENT CACHING NO.
    OptOut,
    /// None: the client hears of every change under its prefixes.
    Broadcast(Vec<Listening>),
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// BCAST.
    pub broadcast: bool,
    /// OPTIN.
    pub opt_in: bool,
    /// OPTOUT.
    pub opt_out: bool,
    /// NOLOOP.
    pub noloop: bool,
    /// REDIRECT; 0 without.
    pub redirect: u64,
    /// PREFIX, as often as it is given.
    pub prefixes: Vec<Vec<u8>>,
}

impl Tracking {
    /// Whether the next command's reads are tracked.
    pub fn tracks(&self) -> bool {
        match self.mode {
            Mode::Default => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast(_) => false,
        }
    }

    /// What follows the reply in slot `seq`.
    pub fn take_after(&mut self, seq: u64) -> Option<After> {
        let at = self.after.iter().position(|(of, _)| *of == seq)?;
        Some(self.after.swap_remove(at).1)
    }

    /// The prefixes of BCAST.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        let listening = match &self.mode {
            Mode::Broadcast(listening) => listening.as_slice(),
            _ => &[],
        };
        listening.iter().map(Listening::prefix)
    }
}

impl Wish {
    /// Whether it can be granted to a client whose tracking is `now`; if not, the error.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn check(&self, now: Option<&Tracking>) -> Result<(), String> {
        if !self.prefixes.is_empty() && !self.broadcast {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".to_owned());
        }
        if let Some(now) = now
            && matches!(now.mode, Mode::Broadcast(_)) != self.broadcast
        {
            return Err("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                .to_owned());
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".to_owned());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".to_owned());
        }
        let switches = now.is_some_and(|now| {
            self.opt_in && matches!(now.mode, Mode::OptOut) || self.opt_out && matches!(now.mode, Mode::OptIn)
        });
        if switches {
            return Err("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                .to_owned());
        }
        self.check_prefixes(now)
    }

    fn check_prefixes(&self, now: Option<&Tracking>) -> Result<(), String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let existing = now.and_then(|now| now.prefixes().find(|known| overlap(known, prefix)));
            if let Some(known) = existing {
                let (prefix, known) = (text(prefix), text(known));
                return Err(format!(
                    "ERR Prefix '{prefix}' overlaps with an existing prefix '{known}'. Prefixes for a single client \
                     must not overlap."
                ));
            }
            if let Some(other) = self.prefixes[at + 1..].iter().find(|other| overlap(other, prefix)) {
                let (prefix, other) = (text(prefix), text(other));
                return Err(format!(
                    "ERR Prefix '{prefix}' overlaps with another provided prefix '{other}'. Prefixes for a single \
                     client must not overlap."
                ));
            }
        }
        Ok(())
    }
}
