//! What an operator does to a running Larder: ends it, replaces it, reads its log.

mod drain;
mod handover;
mod logs;
mod systemd;
