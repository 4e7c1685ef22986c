//! `larder top`: what the dashboard shows, in a terminal.
//!
//! One thread asks the admin address once a second ([`client`]) and hands over what it hears; this one draws it ([`view`]) and listens to
//! the keyboard. Whatever ends it, the terminal is as it was before: q, Ctrl-C, SIGTERM, SIGHUP, an error, or a panic.

pub mod client;
pub mod view;
pub mod words;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use crate::report::state::State;
use client::Client;
use view::View;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the keyboard is listened to before what was heard is drawn.
const LISTEN: Duration = Duration::from_millis(100);

/// What the asking thread has heard.
enum News {
    /// An answer, or why there was none.
    State(Box<Result<State, String>>),
    /// A signal that ends the process.
    End,
}

/// Shows the Larder at an admin address until the user has enough.
pub fn run(client: Client) -> ExitCode {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return fail("needs a terminal; for scripts there is GET /state (docs/admin.md)");
    }
    let (sender, news) = channel();
    let admin = client.admin.clone();
    let asking = std::thread::Builder::new().name("ask".to_owned()).spawn(move || ask(&client, &sender));
    if let Err(error) = asking {
        return fail(&format!("cannot start: {error}"));
    }
    // (This also sees to it that a panic restores the terminal before it speaks.)
    let shown = match ratatui::try_init() {
        Ok(mut terminal) => show(&mut terminal, &admin, &news),
        Err(error) => Err(error),
    };
    ratatui::restore();
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the terminal does not do what is needed: {error}")),
    }
}

fn fail(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "larder top: {why}");
    ExitCode::FAILURE
}

fn show(terminal: &mut DefaultTerminal, admin: &str, news: &Receiver<News>) -> std::io::Result<()> {
    let mut view = View::new(admin);
    loop {
        loop {
            match news.try_recv() {
                Ok(News::State(told)) => view.hear(*told, Instant::now()),
                Ok(News::End) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => break,
            }
        }
        terminal.draw(|frame| view.draw(frame, Instant::now()))?;
        if event::poll(LISTEN)? && ends(&event::read()?) {
            return Ok(());
        }
    }
}

/// Whether a key means the end.
fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c' | 'd') => control,
            _ => false,
        }
}

/// Asks for ever, and tells of signals.
fn ask(client: &Client, news: &Sender<News>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return;
        };
        tokio::select! {
            () = ask_on(client, news) => {}
            _ = terminate.recv() => drop(news.send(News::End)),
            _ = hangup.recv() => drop(news.send(News::End)),
        }
    });
}

async fn ask_on(client: &Client, news: &Sender<News>) {
    let (mut run, mut known) = (String::new(), 0);
    loop {
        let mut told = client.ask(known).await;
        if let Ok(state) = &told
            && state.run_id != run
        {
            // Another process than before: its samples have numbers of their own.
            run.clone_from(&state.run_id);
            if known > 0 {
                told = client.ask(0).await;
            }
            known = 0;
        }
        if let Ok(state) = &told {
            known = state.history.number.last().copied().unwrap_or(known);
        }
        if news.send(News::State(Box::new(told))).is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
