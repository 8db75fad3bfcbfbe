//! The date formats that Act-On documents: a format and a date come in, a text goes out, or whether a text is one. Pure.
//! The letters are taken for those of Java's `SimpleDateFormat`, with English names.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::redact;
use crate::vendors::time;

/// Each documented format, and how `strftime` writes it. All of them name a day: none has a time or a zone.
const FORMATS: [(&str, &str); 15] = [
    ("MM/dd/yyyy", "%m/%d/%Y"),
    ("dd/MM/yyyy", "%d/%m/%Y"),
    ("MM/dd/yy", "%m/%d/%y"),
    ("dd/MM/yy", "%d/%m/%y"),
    ("yyyy/MM/dd", "%Y/%m/%d"),
    ("MM-dd-yyyy", "%m-%d-%Y"),
    ("dd-MM-yyyy", "%d-%m-%Y"),
    ("MM-dd-yy", "%m-%d-%y"),
    ("dd-MM-yy", "%d-%m-%y"),
    ("yyyy-MM-dd", "%Y-%m-%d"),
    ("dd MMM yyyy", "%d %b %Y"),
    ("MMM dd yyyy", "%b %d %Y"),
    ("dd MMMM yyyy", "%d %B %Y"),
    ("EEE, dd MMM yyyy", "%a, %d %b %Y"),
    ("EEEE, dd MMMM yyyy", "%A, %d %B %Y"),
];

/// The day that a sentence shows as an example.
const EXAMPLE: Date = Date::constant(2023, 1, 25);

/// A documented date format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateFormat {
    /// As documented.
    pub name: &'static str,
    strftime: &'static str,
}

impl DateFormat {
    /// `MM/dd/yyyy`, the first that Act-On names.
    pub const DEFAULT: Self = Self { name: FORMATS[0].0, strftime: FORMATS[0].1 };

    /// Every documented format, by its name.
    pub fn all() -> [(&'static str, Self); FORMATS.len()] {
        FORMATS.map(|(name, strftime)| (name, Self { name, strftime }))
    }

    /// The format of that name.
    ///
    /// # Errors
    /// A sentence with the documented ones.
    pub fn find(name: &str) -> Result<Self, String> {
        let found = Self::all().into_iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| format).ok_or_else(|| {
            let known: Vec<String> = FORMATS.iter().map(|(known, _)| format!("{known:?}")).collect();
            format!("\"dateformat\" is {name:?}; it must be one of {}", known.join(", "))
        })
    }

    /// The day as this format writes it; `None` for a year that it cannot write.
    pub fn write(self, day: Date) -> Option<String> {
        (1..=9999).contains(&day.year()).then(|| day.strftime(self.strftime).to_string())
    }

    /// Checks that `text` is a day exactly as this format writes it: every digit, the right weekday, nothing around it.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the field's name.
    pub fn check(self, text: &str) -> Result<(), String> {
        let name = self.name;
        let day = Date::strptime(self.strftime, text).ok();
        let mend = match day.and_then(|day| self.write(day)) {
            Some(exact) if exact == text => {
                let time = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|day| day.timestamp());
                let fault = time.and_then(|time| time::possible(time).err());
                return fault.map_or(Ok(()), |why| {
                    Err(format!("{text:?}, {why}; leave it out, and the event's time gives the day"))
                });
            }
            // Read with some liberty; written again, the day shows what was meant.
            Some(exact) => format!("that day is written {exact:?}"),
            None => format!("a day is written as {:?}", self.write(EXAMPLE).unwrap_or_default()),
        };
        let shown: String = redact::masked(text, &[]).chars().take(60).collect();
        Err(format!("{shown:?}, no day as the date format {name:?} writes it; {mend}"))
    }
}
