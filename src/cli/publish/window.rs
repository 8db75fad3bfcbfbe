//! What is under way, in the file's order: whatever the order in which the broker confirms, what is told and remembered is what all
//! before it has ended for.

use std::collections::VecDeque;

use super::input::Record;
use super::reading::To;

/// Lines under way at once, and so the most that are published twice when a run that was killed goes on.
pub(super) const WINDOW: usize = 256;

/// How a line ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    Published(To),
    Refused(String),
}

/// The lines that were taken, from the first that has not ended on.
#[derive(Debug, Default)]
pub(super) struct Window {
    lines: VecDeque<(Record, Option<End>)>,
    /// The number of the first.
    first: u64,
}

impl Window {
    /// Takes a line over; what comes out is its number.
    pub fn take(&mut self, record: Record) -> u64 {
        self.lines.push_back((record, None));
        self.first + u64::try_from(self.lines.len() - 1).unwrap_or(u64::MAX)
    }

    /// The line of that number.
    pub fn line(&self, number: u64) -> Option<&Record> {
        Some(&self.lines.get(self.place(number)?)?.0)
    }

    pub fn end(&mut self, number: u64, how: End) {
        if let Some((_, end)) = self.place(number).and_then(|place| self.lines.get_mut(place)) {
            *end = Some(how);
        }
    }

    /// The first line, once it has ended.
    pub fn next_ended(&mut self) -> Option<(Record, End)> {
        match self.lines.front() {
            Some((_, Some(_))) => {
                self.first += 1;
                self.lines.pop_front().and_then(|(record, end)| Some((record, end?)))
            }
            Some((_, None)) | None => None,
        }
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::{Content, Place};
    use super::*;
    use crate::class::Class;

    fn record(line: u64) -> Record {
        let end = Place { byte: line * 10, line: line + 1 };
        Record { line, origin: line, end, content: Content::Line(Vec::new()) }
    }

    #[test]
    fn lines_come_out_in_the_files_order_whatever_the_order_of_their_ends() {
        let mut window = Window::default();
        let numbers: Vec<u64> = (1..=3).map(|line| window.take(record(line))).collect();
        window.end(numbers[1], End::Refused("why".to_owned()));
        assert!(window.next_ended().is_none(), "the first has not ended");
        let published = || End::Published(To::Destinations("shop.paid".to_owned(), Class::Live));
        window.end(numbers[0], published());
        let ended = |window: &mut Window| window.next_ended().map(|(record, end)| (record.line, end));
        assert_eq!(ended(&mut window), Some((1, published())));
        assert_eq!(ended(&mut window), Some((2, End::Refused("why".to_owned()))));
        assert_eq!(ended(&mut window), None);
        assert_eq!((window.len(), window.line(numbers[2]).map(|record| record.line)), (1, Some(3)));
        assert_eq!(window.take(record(4)), 3);
    }
}
