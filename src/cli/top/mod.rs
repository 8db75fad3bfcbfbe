//! `sluice top`: every destination, live in the terminal.

mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::view::View;
use super::screen::{Screen, WholeScreen};
use super::source::Source;
use super::status::{STATES, interval};
use super::{Error, load_admin};
use crate::clock;
use crate::config::ConfigFile;

const HELP: &str = "\
Keys: q ends it, s sorts by the next column, r turns the order round, / filters by a part of the name, of the vendor or of why, f by
state, arrows scroll, ? shows all keys. It only shows: nothing can be changed from here.

Examples:
  sluice top
  sluice top --interval 5s --state parked,broken
  sluice top --url http://sluice.internal:9464";

/// Between two looks at the worker.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at whether the end has come, for the thread that reads keys.
const KEYS_WITHIN: Duration = Duration::from_millis(100);

/// Show all destinations live in the terminal, those in trouble first
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The worker's admin address, instead of `[admin] listen`
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Only destinations in these states, with commas between
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = STATES)]
    state: Vec<String>,
    /// How often, such as 500ms, 2s or 1m; 1s unless given
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<Duration>,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    if Screen::now().height.is_none() || !io::stdin().is_terminal() {
        let mend = "top needs a terminal to draw on; use `sluice status --watch`, with --json for programs";
        return Err(Error::Failed(mend.into()));
    }
    let source = Source::new(args.url.as_ref(), &load_admin(file)?)?;
    // Whatever is wrong from the beginning is said where it can be read afterwards.
    let first = source.destinations().await?;
    let mut view = View::new(&source.base, args.state);
    view.take(Ok(first), clock::wall());
    let mut news = looks(source, args.interval.unwrap_or(INTERVAL));
    let _given_back_at_the_end = WholeScreen::take()?;
    let mut keys = keys();
    loop {
        let screen = Screen::now();
        screen.redraw(&view.lines(screen))?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(told) = news.recv() => view.take(told, clock::wall()),
            key = keys.recv() => match key {
                Some(Some(key)) => if view.press(key, screen) { return Ok(()) },
                // The window has another size.
                Some(None) => {}
                None => return Err(Error::Failed("the terminal can no longer be read".into())),
            },
        }
    }
}

/// What the worker tells, again and again.
fn looks(source: Source, interval: Duration) -> mpsc::Receiver<Result<Value, String>> {
    let (news, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            clock::sleep(interval).await;
            let told = source.destinations().await.map_err(|error| error.to_string());
            if news.send(told).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The keys that are pressed; none where the window has another size.
fn keys() -> mpsc::Receiver<Option<KeyEvent>> {
    let (keys, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !keys.is_closed() {
            let pressed =
                match event::poll(KEYS_WITHIN).and_then(|is| if is { event::read().map(Some) } else { Ok(None) }) {
                    Ok(Some(Event::Key(key))) if key.kind != KeyEventKind::Release => Some(key),
                    Ok(Some(Event::Resize(..))) => None,
                    Ok(_) => continue,
                    // The terminal has gone.
                    Err(_) => return,
                };
            if keys.blocking_send(pressed).is_err() {
                return;
            }
        }
    });
    receiver
}
