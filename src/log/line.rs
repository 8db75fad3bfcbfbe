//! What is logged becomes a line: as tracing-subscriber's own formats write it without colours, in a third of their time. Each delivery has
//! a line.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;

/// The field that has no name in a text line.
const MESSAGE: &str = "message";
/// What came from the `log` crate carries its metadata in fields of such names.
const LOG_METADATA: &str = "log.";

thread_local! {
    /// The last line's memory.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
    /// The last second that was written, and how.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Lines for people.
pub(super) struct TextLine;

/// Lines for programs: one JSON object each.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        written(writer, |line| {
            push_time(line)?;
            write!(line, " {:>5} ", level(event))?;
            let mut fields = TextFields { line, is_first: true, result: Ok(()) };
            event.record(&mut fields);
            fields.result
        })
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        written(writer, |line| {
            line.push_str("{\"timestamp\":\"");
            push_time(line)?;
            write!(line, "\",\"level\":\"{}\"", level(event))?;
            let mut fields = JsonFields { line, result: Ok(()) };
            event.record(&mut fields);
            fields.result?;
            line.push('}');
            Ok(())
        })
    }
}

/// Makes a line in memory that is used again, and writes it at once.
fn written(mut writer: Writer<'_>, make: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    // Taken out: showing a value may log.
    let mut line = LINE.take();
    line.clear();
    let made = make(&mut line);
    line.push('\n');
    let result = made.and_then(|()| writer.write_str(&line));
    LINE.set(line);
    result
}

fn level(event: &Event<'_>) -> &'static str {
    match *event.metadata().level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// RFC 3339, to the microsecond. The part up to the second is made once a second.
fn push_time(line: &mut String) -> fmt::Result {
    let now = clock::wall();
    SECOND.with_borrow_mut(|(second, shown)| {
        if *second != now.as_second() {
            shown.clear();
            write!(shown, "{}", now.strftime("%Y-%m-%dT%H:%M:%S"))?;
            *second = now.as_second();
        }
        line.push_str(shown);
        write!(line, ".{:06}Z", now.subsec_microsecond())
    })
}

struct TextFields<'a> {
    line: &'a mut String,
    is_first: bool,
    result: fmt::Result,
}

impl TextFields<'_> {
    /// Writes a field by `value`; the message without its name.
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        if self.result.is_err() || field.name().starts_with(LOG_METADATA) {
            return;
        }
        if !std::mem::take(&mut self.is_first) {
            self.line.push(' ');
        }
        if field.name() == MESSAGE {
            let begin = self.line.len();
            self.result = value(self.line);
            without_escapes(self.line, begin);
        } else {
            self.line.push_str(field.name());
            self.line.push('=');
            self.result = value(self.line);
        }
    }
}

impl Visit for TextFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_message = field.name() == MESSAGE;
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        self.field(field, |line| {
            if is_message {
                line.push_str(value);
            } else if value.bytes().all(is_plain) {
                line.push('"');
                line.push_str(value);
                line.push('"');
            } else {
                return write!(line, "{value:?}");
            }
            Ok(())
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.field(field, |line| {
            let begin = line.len();
            write!(line, "{value}")?;
            without_escapes(line, begin);
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |line| write!(line, "{value:?}"));
    }
}

/// Shows what would steer a terminal, from `begin` on, instead of letting it do so.
fn without_escapes(line: &mut String, begin: usize) {
    let steers = |c: char| matches!(c, '\x07' | '\x08' | '\x0c' | '\x1b' | '\x7f'..='\u{9f}');
    let Some(at) = line.get(begin..).and_then(|part| part.find(steers)) else { return };
    let rest = line.split_off(begin + at);
    for c in rest.chars() {
        // Writing to a string does not fail.
        match c {
            c if steers(c) && c.is_ascii() => write!(line, "\\x{:02x}", u32::from(c)).unwrap_or_default(),
            c if steers(c) => write!(line, "\\u{{{:x}}}", u32::from(c)).unwrap_or_default(),
            c => line.push(c),
        }
    }
}

struct JsonFields<'a> {
    line: &'a mut String,
    result: fmt::Result,
}

impl JsonFields<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        if self.result.is_err() || field.name().starts_with(LOG_METADATA) {
            return;
        }
        self.line.push_str(",\"");
        self.line.push_str(field.name());
        self.line.push_str("\":");
        self.result = value(self.line);
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |line| match value.is_finite() {
            true => write!(line, "{value:?}"),
            false => line.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |line| push_json(line, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |line| push_json(line, &format!("{value:?}")));
    }
}

fn push_json(line: &mut String, value: &str) -> fmt::Result {
    let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\');
    if value.bytes().all(is_plain) {
        line.push('"');
        line.push_str(value);
        line.push('"');
        return Ok(());
    }
    line.push_str(&serde_json::to_string(value).map_err(|_| fmt::Error)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    /// What is logged of all kinds.
    fn log() {
        let error = io::Error::other("no \"room\"\x1b[31m");
        let cause: &(dyn std::error::Error + 'static) = &error;
        tracing::info!(
            destination = "px",
            event.id = "e-1",
            event.r#type = "a.b",
            status = 201_u16,
            ms = 3_u64,
            "delivered"
        );
        tracing::warn!(
            said = "a \"quoted\" \\ word\nand å \u{7f}\u{9b}",
            none = None::<&str>,
            some = Some("x"),
            "two\nlines"
        );
        tracing::error!(%error, whole = -5, half = 0.5, is = true, debug = ?Some("x"), "failed \x1b[31mred\u{9b}");
        tracing::error!(error = cause, nan = f64::NAN, "with an error");
        tracing::debug!(only = "fields");
        tracing::info!("{} only", "a message");
    }

    fn logged(subscriber: impl Subscriber + Send + Sync, written: &Written) -> Vec<String> {
        tracing::subscriber::with_default(subscriber, log);
        written.lines()
    }

    #[test]
    fn a_text_line_is_what_the_library_writes() {
        let (own, theirs) = (Written::default(), Written::default());
        let builder = |to: &Written| {
            let to = to.clone();
            tracing_subscriber::fmt().with_max_level(Level::TRACE).with_ansi(false).with_writer(move || to.clone())
        };
        let ours = logged(builder(&own).event_format(TextLine).finish(), &own);
        let library = logged(builder(&theirs).with_target(false).finish(), &theirs);
        let without_time = |line: &String| line.split_once("Z ").map(|(time, rest)| (time.len(), rest.to_owned()));
        assert_eq!(
            ours.iter().map(without_time).collect::<Vec<_>>(),
            library.iter().map(without_time).collect::<Vec<_>>()
        );
        assert_eq!(ours.len(), 7, "one has a line break in its message");
    }

    #[test]
    fn a_json_line_has_what_the_library_writes() {
        let (own, theirs) = (Written::default(), Written::default());
        let builder = |to: &Written| {
            let to = to.clone();
            tracing_subscriber::fmt().with_max_level(Level::TRACE).json().with_writer(move || to.clone())
        };
        let ours = logged(builder(&own).event_format(JsonLine).finish(), &own);
        let library = logged(builder(&theirs).flatten_event(true).with_target(false).finish(), &theirs);
        let read = |line: &String| {
            let mut value: serde_json::Value = serde_json::from_str(line).expect(line);
            let time = value["timestamp"].take();
            assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
            (time.as_str().map(str::len), value)
        };
        assert_eq!(ours.iter().map(read).collect::<Vec<_>>(), library.iter().map(read).collect::<Vec<_>>());
        assert_eq!(ours.len(), 6);
    }
}
