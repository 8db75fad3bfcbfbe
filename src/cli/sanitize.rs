//! Makes text of others safe to print on a terminal: nothing in it moves the cursor, sets colours, changes the reading direction or hides.

/// A text of one line.
pub(super) fn line(text: &str) -> String {
    escaped(text, &[])
}

/// A text of several.
pub(super) fn lines(text: &str) -> String {
    escaped(&text.replace("\r\n", "\n"), &['\n', '\t'])
}

fn escaped(text: &str, kept: &[char]) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) && !kept.contains(&c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

/// Whether it is a control or a format character: Unicode's Cc, Cf, Zl and Zp, as far as they stand in no script's words alone.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_colours_turns_or_hides_is_told_by_its_number_and_all_else_stays() {
        let forged = "e-1\0\u{1b}[31m\r\npx\t\u{9b}2J \u{202e}gpj\u{2066}\u{200b}\u{feff}\u{7f}";
        assert_eq!(line(forged), r"e-1\u{0}\u{1b}[31m\r\npx\t\u{9b}2J \u{202e}gpj\u{2066}\u{200b}\u{feff}\u{7f}");
        let words = "Zoë said \"10\u{a0}% of C:\\x\", 日本\u{3000}語, e\u{301}, हिन्दी";
        assert_eq!((line(words), lines(words)), (words.to_owned(), words.to_owned()));
    }

    #[test]
    fn a_text_of_several_lines_keeps_them() {
        assert_eq!(lines("a,\tb\r\nc\rd\n\u{1b}e"), "a,\tb\nc\\rd\n\\u{1b}e");
    }
}
