//! LARDER LADDER: on which rung each server stands, and drills.

use super::super::Request;
use crate::operator;
use crate::report::ladder;
use crate::resp::encode;

/// `LARDER LADDER [FORCE upstream rung [for] | AUTO [upstream]]`
pub(super) fn ladder(request: &mut Request<'_>) {
    let command = request.command;
    let done = match command.len() {
        2 => {
            let lines = ladder::lines(request.app());
            let out = request.out();
            encode::array(out, lines.len());
            return lines.iter().for_each(|line| encode::bulk(out, line.to_string().as_bytes()));
        }
        5 | 6 if command.is(2, "force") => {
            let lasts = (command.len() == 6).then(|| request.text(5));
            operator::force(request.app(), &request.text(3), &request.text(4), lasts.as_deref())
        }
        3 | 4 if command.is(2, "auto") => {
            let upstream = (command.len() == 4).then(|| request.text(3));
            operator::auto(request.app(), upstream.as_deref())
        }
        _ => Err("LARDER LADDER takes nothing, FORCE <upstream> <rung> [<for>], or AUTO [<upstream>]".to_owned()),
    };
    match done {
        Ok(()) => request.ok(),
        Err(why) => request.error(&format!("ERR {why}")),
    }
}
