//! One command being run: its arguments, the store, and where the reply goes.

use super::store::Store;
use super::text::parse_integer;
use crate::keyvalue::Now;
use crate::keyvalue::Refusal;
use crate::resp::{Command, Proto, encode};

/// What every command gets.
pub(super) struct Call<'a> {
    pub store: &'a mut Store,
    pub cmd: Command<'a>,
    /// The row's name, for the error texts that contain it.
    pub name: &'a str,
    pub db: usize,
    pub now: Now,
    pub proto: Proto,
    pub out: &'a mut Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn arg(&self, i: usize) -> &'a [u8] {
        self.cmd.arg(i)
    }

    /// Argument `i` as a 64-bit integer in Redis's strict form.
    pub(super) fn integer(&self, i: usize) -> Result<i64, Refusal> {
        parse_integer(self.arg(i)).ok_or(Refusal::INTEGER)
    }

    /// Argument `i` as the number of a database.
    pub(super) fn database(&self, i: usize) -> Result<usize, Refusal> {
        let number = i32::try_from(self.integer(i)?).map_err(|_| Refusal::INT_RANGE)?;
        usize::try_from(number).ok().filter(|&number| number < super::DATABASES as usize).ok_or(Refusal::DATABASE)
    }

    /// Replies with the value of `key`, or null.
    pub(super) fn reply_value(&mut self, key: &[u8]) {
        match self.store.read(self.db, key, self.now) {
            Some(entry) => encode::bulk(self.out, &entry.text.bytes()),
            None => encode::null(self.out, self.proto),
        }
    }

    pub(super) fn reply_integer(&mut self, value: i64) -> Result<(), Refusal> {
        encode::integer(self.out, value);
        Ok(())
    }

    pub(super) fn reply_len(&mut self, value: usize) -> Result<(), Refusal> {
        self.reply_integer(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(super) fn reply_bulk(&mut self, value: &[u8]) -> Result<(), Refusal> {
        encode::bulk(self.out, value);
        Ok(())
    }

    pub(super) fn reply_ok(&mut self) -> Result<(), Refusal> {
        encode::ok(self.out);
        Ok(())
    }

    pub(super) fn reply_null(&mut self) -> Result<(), Refusal> {
        encode::null(self.out, self.proto);
        Ok(())
    }
}
