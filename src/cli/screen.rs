//! The terminal that a command writes to: how large it is, whether it has colours, and a whole screen of one's own for a while.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};

/// The size of a terminal that does not tell its own.
const USUAL: (u16, u16) = (80, 24);

/// Whether the terminal has no colours, and cannot move its cursor.
#[expect(clippy::disallowed_methods, reason = "terminals say so in their environment only")]
fn is_dumb() -> bool {
    std::env::var("TERM").is_ok_and(|term| term == "dumb")
}

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns; none where it is no terminal.
    pub width: Option<usize>,
    /// Lines; none where it is no terminal, or one that cannot draw over what is there.
    pub height: Option<usize>,
    /// Whether colours are wanted: on a terminal that has them, unless `NO_COLOR` says otherwise.
    pub colour: bool,
}

impl Screen {
    /// As it is now: a window may change its size at any time.
    pub(super) fn now() -> Self {
        let out = io::stdout();
        // Under CI colours are wanted even of a terminal that says it has none.
        let colour = !is_dumb() && matches!(AutoStream::choice(&out), ColorChoice::Always | ColorChoice::AlwaysAnsi);
        if !out.is_terminal() {
            return Self { width: None, height: None, colour };
        }
        let known = size().ok().filter(|(width, height)| *width > 0 && *height > 0);
        let (width, height) = known.unwrap_or(USUAL);
        Self { width: Some(width.into()), height: (!is_dumb()).then(|| height.into()), colour }
    }

    /// Draws lines over what is there, from the top; what does not fit is said.
    pub(super) fn redraw(self, lines: &[String]) -> io::Result<()> {
        let room = self.height.unwrap_or(usize::MAX).saturating_sub(1);
        let mut out = io::stdout().lock();
        queue!(out, MoveTo(0, 0))?;
        let (shown, left) = if lines.len() > room { (room.saturating_sub(1), lines.len()) } else { (lines.len(), 0) };
        for line in lines.iter().take(shown) {
            write!(out, "{line}")?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
            write!(out, "\r\n")?;
        }
        if left > 0 {
            write!(out, "… {} more lines\r\n", left - shown)?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

/// Whether a whole screen is in use, for whoever gives it back first.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// The whole screen, with each key as it is pressed. What was there before comes back at the end, also after a panic.
pub(super) struct WholeScreen;

impl WholeScreen {
    /// Takes it.
    pub(super) fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Its message would go away with the screen.
            give_back();
            before(panic);
        }));
        IN_USE.store(true, Ordering::SeqCst);
        let taken = Self;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(taken)
    }
}

impl Drop for WholeScreen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if IN_USE.swap(false, Ordering::SeqCst) {
        // Where the terminal has gone there is nothing to give back.
        drop(execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen));
        drop(disable_raw_mode());
    }
}
