//! `strftime` as C has it, in English and UTC: what glibc does with each directive, its flags, width and modifier, is done here. One that
//! it does not know it writes as it stands. Pure.

use jiff::Zoned;

/// By so much a text may be longer than its format, as in jq.
const LONGER: usize = 99;

/// The time as the format says; none where that is nothing, or much longer than the format.
pub(super) fn write(format: &str, time: &Zoned) -> Option<String> {
    let written = filled_in(format, time, format.len() + LONGER)?;
    (!written.is_empty()).then_some(written)
}

fn filled_in(format: &str, time: &Zoned, longest: usize) -> Option<String> {
    let mut written = String::new();
    let mut rest = format;
    while let Some((plain, directive)) = rest.split_once('%') {
        written.push_str(plain);
        let (directive, behind) = Directive::read(directive);
        if directive.width > longest {
            return None;
        }
        written.push_str(&directive.write(time)?);
        rest = behind;
    }
    written.push_str(rest);
    (written.len() <= longest).then_some(written)
}

/// What follows a `%`.
struct Directive<'a> {
    /// The last of `_`, `-` and `0`.
    pad: Option<char>,
    upper: bool,
    change: bool,
    width: usize,
    /// `E` or `O`.
    modifier: Option<char>,
    letter: Option<char>,
    /// All of it, without the `%`.
    text: &'a str,
}

/// What a directive stands for.
enum Part {
    /// So many digits at least, filled up with zeros, or with spaces.
    Number(i64, usize),
    Spaced(i64, usize),
    Text(String),
    Lower(String),
    /// Other directives.
    Format(&'static str),
    Offset,
    Unknown,
}

impl<'a> Directive<'a> {
    fn read(text: &'a str) -> (Self, &'a str) {
        let mut chars = text.chars();
        let mut next = chars.next();
        let mut read = Self { pad: None, upper: false, change: false, width: 0, modifier: None, letter: None, text };
        while let Some(flag @ ('_' | '-' | '0' | '^' | '#')) = next {
            match flag {
                '^' => read.upper = true,
                '#' => read.change = true,
                pad => read.pad = Some(pad),
            }
            next = chars.next();
        }
        while let Some(digit) = next.and_then(|digit| digit.to_digit(10)) {
            let digit = usize::try_from(digit).unwrap_or_default();
            read.width = read.width.saturating_mul(10).saturating_add(digit);
            next = chars.next();
        }
        if let Some('E' | 'O') = next {
            read.modifier = next;
            next = chars.next();
        }
        read.letter = next;
        let behind = chars.as_str();
        read.text = text.strip_suffix(behind).unwrap_or(text);
        (read, behind)
    }

    fn write(&self, time: &Zoned) -> Option<String> {
        let cased = |text: String| if self.upper { text.to_ascii_uppercase() } else { text };
        Some(match self.part(time) {
            Part::Number(number, digits) => self.number(number, digits, self.pad.unwrap_or('0')),
            Part::Spaced(number, digits) => self.number(number, digits, self.pad.unwrap_or('_')),
            Part::Text(text) if self.change => self.filled(&text.to_ascii_uppercase()),
            Part::Text(text) => self.filled(&cased(text)),
            Part::Lower(text) => self.filled(&text.to_ascii_lowercase()),
            Part::Format(format) => self.filled(&cased(filled_in(format, time, LONGER)?)),
            Part::Offset => self.filled("+") + &self.number(0, 4, self.pad.unwrap_or('0')),
            Part::Unknown => self.filled(&cased(format!("%{}", self.text))),
        })
    }

    fn part(&self, time: &Zoned) -> Part {
        let Some(letter) = self.letter.filter(|letter| self.may_be_modified(*letter)) else { return Part::Unknown };
        let (hour, week) = (i64::from(time.hour()), time.date().iso_week_date());
        let (of_year, of_week) = (i64::from(time.day_of_year()) - 1, i64::from(time.weekday().to_sunday_zero_offset()));
        let noon = if hour < 12 { "AM" } else { "PM" };
        let (year, hour_of_12) = (i64::from(time.year()), (hour + 11) % 12 + 1);
        match letter {
            '%' => Part::Text("%".to_owned()),
            'n' => Part::Text("\n".to_owned()),
            't' => Part::Text("\t".to_owned()),
            'a' => Part::Text(time.strftime("%a").to_string()),
            'A' => Part::Text(time.strftime("%A").to_string()),
            'b' | 'h' => Part::Text(time.strftime("%b").to_string()),
            'B' => Part::Text(time.strftime("%B").to_string()),
            'p' if self.change => Part::Lower(noon.to_owned()),
            'p' => Part::Text(noon.to_owned()),
            'P' => Part::Lower(noon.to_owned()),
            'Z' if self.change => Part::Lower("UTC".to_owned()),
            'Z' => Part::Text("UTC".to_owned()),
            'c' => Part::Format("%a %b %e %H:%M:%S %Y"),
            'x' | 'D' => Part::Format("%m/%d/%y"),
            'X' | 'T' => Part::Format("%H:%M:%S"),
            'F' => Part::Format("%Y-%m-%d"),
            'R' => Part::Format("%H:%M"),
            'r' => Part::Format("%I:%M:%S %p"),
            'C' => Part::Number(year.div_euclid(100), 1),
            'y' => Part::Number(year.rem_euclid(100), 2),
            'Y' => Part::Number(year, 4),
            'g' => Part::Number(i64::from(week.year()).rem_euclid(100), 2),
            'G' => Part::Number(i64::from(week.year()), 4),
            'm' => Part::Number(i64::from(time.month()), 2),
            'd' => Part::Number(i64::from(time.day()), 2),
            'e' => Part::Spaced(i64::from(time.day()), 2),
            'j' => Part::Number(of_year + 1, 3),
            'H' => Part::Number(hour, 2),
            'k' => Part::Spaced(hour, 2),
            'I' => Part::Number(hour_of_12, 2),
            'l' => Part::Spaced(hour_of_12, 2),
            'M' => Part::Number(i64::from(time.minute()), 2),
            'S' => Part::Number(i64::from(time.second()), 2),
            's' => Part::Number(time.timestamp().as_second(), 1),
            'u' => Part::Number((of_week + 6) % 7 + 1, 1),
            'w' => Part::Number(of_week, 1),
            'U' => Part::Number((of_year - of_week + 7) / 7, 2),
            'W' => Part::Number((of_year - (of_week + 6) % 7 + 7) / 7, 2),
            'V' => Part::Number(i64::from(week.week()), 2),
            'z' => Part::Offset,
            _ => Part::Unknown,
        }
    }

    /// `E` asks for another calendar, `O` for other digits: in English there is neither, but not every directive may be asked for one.
    fn may_be_modified(&self, letter: char) -> bool {
        match self.modifier {
            Some('E') => !"aAbBhdDeFHIjklMmSUVgGWw".contains(letter),
            Some(_) => !"aAcDFxXY".contains(letter),
            None => true,
        }
    }

    fn number(&self, number: i64, digits: usize, pad: char) -> String {
        let width = digits.max(self.width);
        match pad {
            '-' => self.filled(&number.to_string()),
            '_' => format!("{number:width$}"),
            _ => format!("{number:0width$}"),
        }
    }

    /// As wide as it is to be.
    fn filled(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let fill = if self.pad == Some('0') { "0" } else { " " };
        fill.repeat(missing) + text
    }
}
