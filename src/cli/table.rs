//! Tables: whole where a program reads them; on a terminal as wide as it is, with states in colour. Long texts are wrapped or cut, and columns
//! that matter least are left out before others become unreadable.

use comfy_table::presets::NOTHING;
use comfy_table::{
    CellAlignment, ColumnConstraint as Constraint, ContentArrangement, Row as DrawnRow, Table as Drawn, Width,
};
use crossterm::style::{Color, Stylize as _};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::sanitize;
use super::screen::Screen;

/// Between two columns.
const GAP: usize = 2;
/// A text that has less room is not readable: columns that matter less leave first.
const LEAST_TEXT: usize = 24;
/// Lines of a text that is wrapped.
const MOST_LINES: usize = 4;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// A number, to the right.
    Figure,
    /// A sentence or a list: it gives way where there is little room.
    Text,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: Kind,
    /// The largest leaves first where there is little room; 0 never.
    leaves: u8,
}

/// A column of single words.
pub(super) const fn word(name: &'static str) -> Column {
    Column { name, kind: Kind::Word, leaves: 0 }
}

/// A column of numbers.
pub(super) const fn figure(name: &'static str) -> Column {
    Column { name, kind: Kind::Figure, leaves: 0 }
}

/// A column of sentences or lists.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, leaves: 0 }
}

impl Column {
    /// The same, which leaves where there is little room: before those with smaller numbers.
    pub(super) const fn leaves(self, leaves: u8) -> Self {
        Self { leaves, ..self }
    }
}

/// How something is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Bad,
    Warn,
    Good,
    Dim,
}

impl Tint {
    /// That of a gate's state.
    pub(super) fn of_state(state: &str) -> Option<Self> {
        match state {
            "parked" | "broken" => Some(Self::Bad),
            "paused" | "throttled" => Some(Self::Warn),
            "open" => Some(Self::Good),
            "standby" => Some(Self::Dim),
            _ => None,
        }
    }

    fn color(self) -> Color {
        match self {
            Self::Bad => Color::DarkRed,
            Self::Warn => Color::DarkYellow,
            Self::Good => Color::DarkGreen,
            Self::Dim => Color::DarkGrey,
        }
    }

    /// The text in its colour.
    pub(super) fn paint(self, text: &str) -> String {
        text.with(self.color()).to_string()
    }
}

/// What stands in a cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tint: Option<Tint>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text: sanitize::line(&text), tint: None }
    }
}

impl Cell {
    /// A text with a colour.
    pub(super) fn tinted(text: String, tint: Option<Tint>) -> Self {
        Self { tint, ..Self::from(text) }
    }
}

/// A table.
pub(super) struct Table<'a> {
    columns: &'a [Column],
    rows: Vec<Vec<Cell>>,
    lines: usize,
}

impl<'a> Table<'a> {
    /// A table of these rows.
    pub(super) fn new<const N: usize, C: Into<Cell>>(
        columns: &'a [Column; N],
        rows: impl IntoIterator<Item = [C; N]>,
    ) -> Self {
        let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into).collect());
        Self { columns, rows: rows.collect(), lines: MOST_LINES }
    }

    /// The same with one line for each row: long texts are cut.
    pub(super) fn of_single_lines(self) -> Self {
        Self { lines: 1, ..self }
    }

    /// The same with all texts whole, however many lines that takes: the end of a sentence may say what to do.
    pub(super) fn of_whole_texts(self) -> Self {
        Self { lines: usize::MAX, ..self }
    }

    /// Its lines on that screen, and the columns that had no room.
    pub(super) fn drawn(&self, screen: Screen) -> (Vec<String>, Vec<&'static str>) {
        let mut widths = self.natural();
        if let Some(width) = screen.width {
            widths = fit(self.columns, &widths, width);
        }
        let shown = |index: usize| widths.get(index).is_some_and(|width| *width > 0);
        let mut table = Drawn::new();
        table.load_style(NOTHING).force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        if screen.colour {
            table.enforce_styling();
        }
        let in_sight = |(index, _): &(usize, &Column)| shown(*index);
        let named = self.columns.iter().zip(&widths).filter(|(_, width)| **width > 0);
        table.set_header(named.map(|(column, width)| cut(column.name, *width)));
        for row in &self.rows {
            let cells = row.iter().enumerate().filter(|(index, _)| shown(*index));
            let mut drawn = DrawnRow::from(cells.map(|(index, cell)| self.cell(cell, index, &widths, screen)));
            drawn.max_height(self.lines);
            table.add_row(drawn);
        }
        if let Some(width) = screen.width {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        let visible: Vec<(usize, &Column)> = self.columns.iter().enumerate().filter(in_sight).collect();
        for (place, (index, column)) in visible.iter().enumerate() {
            let Some(drawn) = table.column_mut(place) else { continue };
            let gap = if place + 1 == visible.len() { 0 } else { GAP };
            drawn.set_padding((0, u16::try_from(gap).unwrap_or(0)));
            if column.kind == Kind::Figure {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
            if screen.width.is_some() {
                let whole = widths.get(*index).copied().unwrap_or(0) + gap;
                drawn.set_constraint(Constraint::Absolute(Width::Fixed(u16::try_from(whole).unwrap_or(u16::MAX))));
            }
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let hidden = self.columns.iter().enumerate().filter(|(index, _)| !shown(*index));
        (lines, hidden.map(|(_, column)| column.name).collect())
    }

    fn cell(&self, cell: &Cell, index: usize, widths: &[usize], screen: Screen) -> comfy_table::Cell {
        let width = widths.get(index).copied().unwrap_or(usize::MAX);
        let is_text = self.columns.get(index).is_some_and(|column| column.kind == Kind::Text);
        // A word that is too long is cut: in two parts nobody would know it.
        let wraps = screen.width.is_none() || (is_text && self.lines > 1);
        let text = if wraps { cell.text.clone() } else { cut(&cell.text, width) };
        let drawn = comfy_table::Cell::new(text);
        match cell.tint.filter(|_| screen.colour) {
            Some(tint) => drawn.fg(tint.color()),
            None => drawn,
        }
    }

    /// How wide each column would be.
    fn natural(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }
}

/// A text of at most that width, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used < width
        })
        .collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// How wide each column is where there is only so much room; 0 of one that is left out.
fn fit(columns: &[Column], natural: &[usize], width: usize) -> Vec<usize> {
    let mut widths = natural.to_vec();
    loop {
        let gaps = GAP * widths.iter().filter(|width| **width > 0).count().saturating_sub(1);
        let room = width.saturating_sub(gaps);
        let is_text = |index: usize| columns.get(index).is_some_and(|column| column.kind == Kind::Text);
        let of = |texts: bool| {
            let some = widths.iter().enumerate().filter(move |(index, _)| is_text(*index) == texts);
            some.map(|(_, width)| *width).collect::<Vec<_>>()
        };
        let (rigid, texts): (usize, Vec<usize>) = (of(false).iter().sum(), of(true));
        if rigid + texts.iter().sum::<usize>() <= room {
            return widths;
        }
        let left = room.saturating_sub(rigid);
        let least: usize = texts.iter().map(|width| (*width).min(LEAST_TEXT)).sum();
        let leaving =
            columns.iter().zip(&widths).enumerate().filter(|(_, (column, width))| column.leaves > 0 && **width > 0);
        let leaving = leaving.max_by_key(|(_, (column, _))| column.leaves).map(|(index, _)| index);
        match leaving {
            Some(index) if left < least => widths[index] = 0,
            Some(_) | None => {
                let mut shares = shares(&texts, left).into_iter();
                for (width, column) in widths.iter_mut().zip(columns) {
                    if column.kind == Kind::Text {
                        *width = shares.next().unwrap_or(0).max(1);
                    }
                }
                return squeezed(widths, room);
            }
        }
    }
}

/// What each of the texts gets of the room: all it needs where that is less than an equal share.
fn shares(needs: &[usize], mut room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|index| needs[*index]);
    let mut shares = vec![0; needs.len()];
    for (done, index) in order.iter().enumerate() {
        let share = needs[*index].min(room / (needs.len() - done));
        shares[*index] = share;
        room -= share;
    }
    shares
}

/// The widest give way until all have room.
fn squeezed(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max().filter(|width| **width > 1) {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [word("name"), word("vendor").leaves(2), figure("waiting").leaves(1), text("why")];
    const PIPE: Screen = Screen { width: None, height: None, colour: false };

    fn table(why: &str) -> Table<'static> {
        let row = |name: &str, why: &str| [name.to_owned(), "gainsight-px".to_owned(), "12".to_owned(), why.to_owned()];
        Table::new(&COLUMNS, [row("px-prod", why), row("px", "")])
    }

    fn on(width: usize) -> Screen {
        Screen { width: Some(width), ..PIPE }
    }

    const LONG: &str =
        "the API answered 401: the key was revoked by somebody; check it and that the account is still on";

    #[test]
    fn a_program_gets_every_cell_whole() {
        let (lines, hidden) = table(LONG).drawn(PIPE);
        assert_eq!(lines[0], "name     vendor        waiting  why");
        assert_eq!(lines[1], format!("px-prod  gainsight-px       12  {LONG}"));
        assert_eq!((lines[2].as_str(), lines.len(), hidden.len()), ("px       gainsight-px       12", 3, 0));
    }

    #[test]
    fn on_a_terminal_a_long_text_is_wrapped_and_no_line_is_wider() {
        for width in [20, 30, 40, 60, 80, 100, 200] {
            let (lines, _) = table(LONG).drawn(on(width));
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
        }
        let (lines, hidden) = table(LONG).drawn(on(80));
        assert!(hidden.is_empty() && lines.len() == 5 && lines[3].starts_with("          "), "{lines:#?}");
        let (single, _) = table(LONG).of_single_lines().drawn(on(80));
        assert!(single.len() == 3 && single[1].ends_with('…') && single[1].width() == 80, "{single:#?}");
    }

    #[test]
    fn where_texts_are_whole_their_last_word_is_there_on_the_narrowest_terminal() {
        let long = format!("{LONG}; {LONG}; {LONG}; then run it");
        for width in [40, 60, 80, 200] {
            let cut = table(&long).drawn(on(width)).0.join("\n");
            let whole = table(&long).of_whole_texts().drawn(on(width)).0.join("\n");
            let ends = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").contains("run it");
            assert!(ends(&whole), "{width}: {whole}");
            assert!(width > 80 || !ends(&cut), "{width}: {cut}");
        }
    }

    #[test]
    fn columns_that_matter_least_are_left_out_first_and_named() {
        let hidden = |width| table(LONG).drawn(on(width)).1;
        assert_eq!(hidden(60), Vec::<&str>::new());
        assert_eq!(hidden(50), ["vendor"]);
        assert_eq!(hidden(40), ["vendor", "waiting"]);
    }

    #[test]
    fn colour_is_only_where_the_screen_has_it() {
        let row = [Cell::tinted("parked".to_owned(), Tint::of_state("parked"))];
        let columns = [word("state")];
        let table = Table::new(&columns, [row]);
        assert_eq!(table.drawn(PIPE).0[1], "parked");
        let coloured = table.drawn(Screen { colour: true, ..PIPE }).0;
        assert!(coloured[1].contains("\u{1b}[") && coloured[1].contains("parked"), "{coloured:?}");
    }

    #[test]
    fn a_text_is_cut_by_what_it_takes_on_the_screen() {
        assert_eq!(
            (cut("abcdef", 6), cut("abcdef", 4), cut("abc", 0)),
            ("abcdef".into(), "abc…".into(), String::new())
        );
        assert_eq!(cut("日本語です", 5), "日本…");
    }

    #[test]
    fn texts_share_the_room_and_a_short_one_takes_no_more_than_it_needs() {
        assert_eq!(shares(&[5, 100, 100], 45), [5, 20, 20]);
        assert_eq!(shares(&[10, 10], 100), [10, 10]);
    }
}
