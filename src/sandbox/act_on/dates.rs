//! The date formats that Act-On documents: a format and a text come in, whether one is exactly the other goes out. Pure.
//! The letters are those of Java's `SimpleDateFormat`, with English names.

use jiff::civil::Date;

/// Each documented format, and how `strftime` writes it.
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

/// A documented date format.
#[derive(Clone, Copy, Debug)]
pub(super) struct DateFormat(&'static str);

impl DateFormat {
    /// The format of this name, if it is documented.
    pub fn find(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(documented, _)| *documented == name).map(|(_, strftime)| Self(strftime))
    }

    /// Whether `text` is a date as this format writes it, to the letter: right weekday, leading zeros, no spaces around.
    pub fn fits(self, text: &str) -> bool {
        // What is read leniently and written again shows every liberty taken.
        Date::strptime(self.0, text).is_ok_and(|date| date.strftime(self.0).to_string() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(format: &str, text: &str) -> bool {
        DateFormat::find(format).unwrap().fits(text)
    }

    #[test]
    fn every_documented_format_takes_its_example() {
        for (format, text) in [
            ("MM/dd/yyyy", "01/25/2023"),
            ("dd/MM/yyyy", "25/01/2023"),
            ("MM/dd/yy", "01/25/23"),
            ("dd/MM/yy", "25/01/23"),
            ("yyyy/MM/dd", "2023/01/25"),
            ("MM-dd-yyyy", "01-25-2023"),
            ("dd-MM-yyyy", "25-01-2023"),
            ("MM-dd-yy", "01-25-23"),
            ("dd-MM-yy", "25-01-23"),
            ("yyyy-MM-dd", "2023-01-25"),
            ("dd MMM yyyy", "25 Jan 2023"),
            ("MMM dd yyyy", "Jan 25 2023"),
            ("dd MMMM yyyy", "25 January 2023"),
            ("EEE, dd MMM yyyy", "Wed, 25 Jan 2023"),
            ("EEEE, dd MMMM yyyy", "Wednesday, 25 January 2023"),
        ] {
            assert!(fits(format, text), "{format}: {text}");
        }
        assert!(DateFormat::find("yyyy-MM-dd HH:mm").is_none());
    }

    #[test]
    fn what_is_not_written_exactly_so_is_refused() {
        for (format, text) in [
            ("MM/dd/yyyy", "1/25/2023"),
            ("MM/dd/yyyy", "25/01/2023"),
            ("MM/dd/yyyy", "01/25/23"),
            ("MM/dd/yyyy", "02/30/2023"),
            ("MM/dd/yyyy", "01/25/2023 "),
            ("MM/dd/yyyy", "01/25/2023T00:00"),
            ("MM/dd/yy", "01/25/2023"),
            ("yyyy-MM-dd", "2023-1-25"),
            ("dd MMM yyyy", "25 jan 2023"),
            ("dd MMM yyyy", "25 January 2023"),
            ("dd MMM yyyy", " 5 Jan 2023"),
            ("EEE, dd MMM yyyy", "Tue, 25 Jan 2023"),
            ("EEEE, dd MMMM yyyy", "Wed, 25 January 2023"),
            ("MM/dd/yyyy", ""),
        ] {
            assert!(!fits(format, text), "{format}: {text:?}");
        }
    }
}
