//! What `larder top` draws: everything that matters on 80 columns and 24 lines, more where there is more room.

use std::collections::VecDeque;
use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::words;
use crate::report::state::{State, Told};
use crate::report::{hotkeys, ladder};

/// Samples that are remembered: more columns than any terminal has.
const REMEMBERED: usize = 900;
/// Lines of servers on a small terminal; what does not fit is counted.
const SERVERS: u16 = 4;

/// What is known of a Larder.
#[derive(Debug)]
pub struct View {
    admin: String,
    state: Option<State>,
    /// Requests per second, as told so far, the oldest first.
    requests: VecDeque<u64>,
    /// Why there is no answer, and since when.
    lost: Option<(String, Instant)>,
}

impl View {
    /// Nothing is known yet.
    pub fn new(admin: &str) -> Self {
        Self { admin: admin.to_owned(), state: None, requests: VecDeque::new(), lost: None }
    }

    /// Takes in an answer, or that there was none.
    pub fn hear(&mut self, told: Result<State, String>, now: Instant) {
        match told {
            Ok(state) => {
                self.lost = None;
                if self.state.as_ref().is_none_or(|before| before.run_id != state.run_id) {
                    self.requests.clear();
                }
                self.requests.extend(state.history.requests_per_second.iter().map(|rate| rate.round() as u64));
                let surplus = self.requests.len().saturating_sub(REMEMBERED);
                self.requests.drain(..surplus);
                self.state = Some(state);
            }
            Err(why) => {
                let since = self.lost.take().map_or(now, |(_, since)| since);
                self.lost = Some((why, since));
            }
        }
    }

    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>, now: Instant) {
        let servers = self.state.as_ref().map_or(1, |state| state.ladder.len().clamp(1, 64)) as u16;
        let room = frame.area().height.saturating_sub(18).max(SERVERS);
        let [title, figures, curve, ladder, rest, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(5),
            Constraint::Length(4),
            Constraint::Length(servers.min(room) + 2),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_title(frame, title);
        self.draw_foot(frame, foot, now);
        let Some(state) = &self.state else { return };
        draw_figures(frame, figures, state);
        self.draw_curve(frame, curve);
        draw_servers(frame, ladder, state);
        let [keys, events] = Layout::horizontal([Constraint::Percentage(38), Constraint::Percentage(62)]).areas(rest);
        draw_keys(frame, keys, state);
        draw_events(frame, events, state);
    }

    fn draw_title(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut spans = vec![" larder".bold()];
        match &self.state {
            Some(state) => {
                let ready = if state.readiness.ready { "ready".green() } else { "not ready".red().bold() };
                spans.extend([format!(" {}  {}  ", state.version, state.stage).into(), ready]);
                spans.push(format!("  up {}  ", words::span(state.uptime_seconds)).into());
            }
            None => spans.push("  ".into()),
        }
        spans.push(self.admin.clone().dim());
        frame.render_widget(Line::from(spans), area);
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect, now: Instant) {
        let line = match &self.lost {
            Some((why, since)) => {
                let span = words::span(now.duration_since(*since).as_secs_f64());
                Line::from(format!(" GONE for {span}: {} {why}; trying again. q quits", self.admin))
                    .style(Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD))
            }
            None if self.state.is_none() => Line::from(format!(" asking {} ... q quits", self.admin)).dim(),
            None => Line::from(" q quits").dim(),
        };
        frame.render_widget(line, area);
    }

    fn draw_curve(&self, frame: &mut Frame<'_>, area: Rect) {
        let shown = self.requests.len().saturating_sub(usize::from(area.width));
        let data: Vec<u64> = self.requests.iter().skip(shown).copied().collect();
        let top = data.iter().max().copied().unwrap_or_default();
        let title = format!(" requests per second, {} s, at most {} ", data.len(), words::count(top as f64));
        let block = Block::new().borders(Borders::TOP).title(title).border_style(Style::new().dim());
        frame.render_widget(Sparkline::default().block(block).data(&data).style(Style::new().cyan()), area);
    }
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let stat = |name: &str| state.stats.get(name).and_then(serde_json::Value::as_f64).unwrap_or_default();
    let recent = &state.recent;
    let runway = state.ladder.first().and_then(|line| line.runway);
    let of_cache = if stat("cache_max_bytes") > 0.0 { stat("cache_bytes") / stat("cache_max_bytes") } else { 0.0 };
    let pairs = [
        [
            ("requests/s", words::rate(recent.requests_per_second)),
            ("hit ratio", words::percent(recent.hit_ratio)),
            ("upstream p50", words::latency(recent.latency.p50_seconds)),
            ("upstream p99", words::latency(recent.latency.p99_seconds)),
            ("upstream p99.9", words::latency(recent.latency.p999_seconds)),
        ],
        [
            ("clients", words::count(stat("clients"))),
            ("since start", words::percent(state.stats.get("cache_hit_ratio").and_then(serde_json::Value::as_f64))),
            ("near-cache", format!("{}, {}", words::bytes(stat("cache_bytes")), words::percent(Some(of_cache)))),
            ("keys", words::count(stat("cache_keys"))),
            ("evictions", words::count(stat("cache_evictions_total"))),
        ],
        [
            ("runway", words::percent(runway)),
            ("stale/s", words::rate(recent.stale_per_second)),
            ("stale answers", words::count(stat("stale_answers_total"))),
            ("coverage lost", words::count(stat("coverage_lost_total"))),
            ("errors", words::count(stat("command_errors_total"))),
        ],
    ];
    let widths = [Constraint::Length(25), Constraint::Length(33), Constraint::Min(22)];
    let columns: [Rect; 3] = Layout::horizontal(widths).areas(area);
    for (column, pairs) in columns.into_iter().zip(pairs) {
        let line =
            |(name, value): (&str, String)| Line::from(vec![format!(" {name:<14} ").dim(), Span::from(value).bold()]);
        frame.render_widget(Paragraph::new(pairs.map(line).to_vec()), column);
    }
}

fn draw_servers(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(2));
    // The worst first, where not all of them fit.
    let mut lines: Vec<_> = state.ladder.iter().collect();
    lines.sort_by_key(|line| line.rung == "normal");
    let hidden = lines.len().saturating_sub(room);
    let rows = lines.into_iter().take(room).map(|line| {
        let since = line.since_seconds.map(words::span).unwrap_or_default();
        let next = match (&line.next, line.next_in_seconds) {
            (Some(next), Some(seconds)) => format!("{next} in {}", words::span(seconds)),
            _ => line.why.clone(),
        };
        Row::new([
            Cell::from(line.upstream.clone()),
            Cell::from(line.endpoint.clone()),
            Cell::from(line.breaker.clone()).style(breaker_colour(&line.breaker)),
            Cell::from(line.rung.clone()).style(rung_colour(&line.rung)),
            Cell::from(since),
            Cell::from(next),
        ])
    });
    // As wide as what stands there: on 80 columns the last one needs what is left.
    let widest = |least: usize, most: usize, cell: fn(&ladder::Line) -> usize| {
        let width = state.ladder.iter().map(cell).max().unwrap_or_default().clamp(least, most);
        Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
    };
    let widths = [
        widest(8, 20, |line| line.upstream.len()),
        widest(6, 40, |line| line.endpoint.len()),
        widest(7, 9, |line| line.breaker.len()),
        widest(6, 15, |line| line.rung.len()),
        Constraint::Length(7),
        Constraint::Min(10),
    ];
    let title = if hidden > 0 { format!(" servers ({hidden} more) ") } else { " servers ".to_owned() };
    let head = Row::new(["upstream", "server", "breaker", "rung", "since", "next, or why"]).style(Style::new().dim());
    let block = Block::new().borders(Borders::TOP).title(title).border_style(Style::new().dim());
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let width = usize::from(area.width);
    let line = |hot: &hotkeys::Line| {
        let reads = words::count(hot.reads as f64);
        let room = width.saturating_sub(reads.len() + 3);
        Line::from(format!(" {:<room$} {reads}", words::shortened(&hot.key, room)))
    };
    let block = Block::new().borders(Borders::TOP).title(" hot keys, recent reads ").border_style(Style::new().dim());
    let lines: Vec<_> = state.hot_keys.iter().map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = |event: &Told| {
        let ago = words::span(state.now_ms.saturating_sub(event.at_ms) as f64 / 1000.0);
        let style = if event.warning { Style::new().yellow() } else { Style::new() };
        Line::from(vec![format!(" {ago:>9} ago  ").dim(), Span::styled(event.text.clone(), style)])
    };
    let block = Block::new().borders(Borders::TOP).title(" events, the newest first ").border_style(Style::new().dim());
    let lines: Vec<_> = state.events.iter().rev().map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn rung_colour(rung: &str) -> Style {
    match rung {
        "normal" => Style::new().green(),
        "reject" => Style::new().red().bold(),
        _ => Style::new().yellow().bold(),
    }
}

fn breaker_colour(breaker: &str) -> Style {
    match breaker {
        "closed" => Style::new().green(),
        "open" => Style::new().red().bold(),
        _ => Style::new().yellow(),
    }
}

#[cfg(test)]
mod tests;
