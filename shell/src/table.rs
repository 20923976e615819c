//! Results as text, laid out as psql does: aligned, expanded (`\x`) or unaligned (`-A`).

use unicode_width::UnicodeWidthStr;

use crate::wire::{Column, Row};

/// How results are shown.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// One value a line.
    pub expanded: bool,
    /// No headings and no row count.
    pub tuples_only: bool,
    /// Columns parted by `|` only.
    pub unaligned: bool,
    /// Shown for NULL.
    pub null: String,
}

/// Types shown right-aligned: integers, floats, numeric, oid, money.
const NUMERIC_OIDS: [u32; 8] = [20, 21, 23, 26, 700, 701, 790, 1700];

/// A whole result as text, with its row count at the end.
pub fn render(columns: &[Column], rows: &[Row], layout: &Layout) -> String {
    let mut text = String::new();
    if layout.expanded {
        render_expanded(columns, rows, layout, &mut text);
        return text;
    }
    if layout.unaligned {
        if !layout.tuples_only {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            text.push_str(&names.join("|"));
            text.push('\n');
        }
        for row in rows {
            let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or(&layout.null)).collect();
            text.push_str(&values.join("|"));
            text.push('\n');
        }
    } else {
        render_aligned(columns, rows, layout, &mut text);
    }
    if !layout.tuples_only {
        text.push_str(&format!("({} row{})\n", rows.len(), if rows.len() == 1 { "" } else { "s" }));
        if !layout.unaligned {
            text.push('\n');
        }
    }
    text
}

fn lines_of<'a>(value: &'a Option<String>, layout: &'a Layout) -> Vec<std::borrow::Cow<'a, str>> {
    value.as_deref().unwrap_or(&layout.null).split('\n').map(printable).collect()
}

/// Tabs and other control characters would break the columns.
fn printable(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.chars().any(char::is_control) {
        return line.into();
    }
    let mut clean = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\t' => clean.extend(std::iter::repeat_n(' ', 8 - clean.width() % 8)),
            '\r' => clean.push_str("\\r"),
            c if c.is_control() => clean.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => clean.push(c),
        }
    }
    clean.into()
}

fn render_aligned(columns: &[Column], rows: &[Row], layout: &Layout, text: &mut String) {
    let mut widths: Vec<usize> =
        columns.iter().map(|column| if layout.tuples_only { 0 } else { column.name.width() }).collect();
    for row in rows {
        for (width, value) in widths.iter_mut().zip(row) {
            for line in lines_of(value, layout) {
                *width = (*width).max(line.width());
            }
        }
    }
    if !layout.tuples_only {
        for (at, (column, &width)) in columns.iter().zip(&widths).enumerate() {
            let free = width - column.name.width();
            text.push_str(if at == 0 { " " } else { "| " });
            text.extend(std::iter::repeat_n(' ', free / 2));
            text.push_str(&column.name);
            text.extend(std::iter::repeat_n(' ', free - free / 2 + 1));
        }
        text.push('\n');
        for (at, &width) in widths.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "+" });
            text.extend(std::iter::repeat_n('-', width + 2));
        }
        text.push('\n');
    }
    for row in rows {
        let cells: Vec<_> = row.iter().map(|value| lines_of(value, layout)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for line in 0..height {
            for (at, ((cell, &width), column)) in cells.iter().zip(&widths).zip(columns).enumerate() {
                let value = cell.get(line).map_or("", |value| value);
                let free = width - value.width();
                let right = NUMERIC_OIDS.contains(&column.type_oid);
                // A plus sign in the margin: the value goes on in the next line.
                let continues = line + 1 < cell.len();
                let last = at + 1 == columns.len();
                text.push_str(if at == 0 { " " } else { "| " });
                if right {
                    text.extend(std::iter::repeat_n(' ', free));
                }
                text.push_str(value);
                if !right && (!last || continues) {
                    text.extend(std::iter::repeat_n(' ', free));
                }
                if continues {
                    text.push('+');
                } else if !last {
                    text.push(' ');
                }
            }
            text.push('\n');
        }
    }
}

fn render_expanded(columns: &[Column], rows: &[Row], layout: &Layout, text: &mut String) {
    if rows.is_empty() {
        if !layout.tuples_only {
            text.push_str("(0 rows)\n\n");
        }
        return;
    }
    let names = columns.iter().map(|column| column.name.width()).max().unwrap_or(0);
    let values =
        rows.iter().flatten().flat_map(|value| lines_of(value, layout)).map(|line| line.width()).max().unwrap_or(0);
    for (number, row) in rows.iter().enumerate() {
        if !layout.tuples_only {
            let title = format!("-[ RECORD {} ]", number + 1);
            text.push_str(&title);
            // The rule is as wide as the lines below it, with a cross where their bar stands.
            for at in title.width()..(names + 3 + values).max(title.width()) {
                text.push(if at == names + 1 { '+' } else { '-' });
            }
            text.push('\n');
        } else if number > 0 {
            text.push('\n');
        }
        for (column, value) in columns.iter().zip(row) {
            for (at, line) in lines_of(value, layout).iter().enumerate() {
                let name = if at == 0 { column.name.as_str() } else { "" };
                text.push_str(name);
                text.extend(std::iter::repeat_n(' ', names - name.width()));
                text.push_str(" | ");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[(&str, u32)]) -> Vec<Column> {
        names.iter().map(|(name, type_oid)| Column { name: name.to_string(), type_oid: *type_oid }).collect()
    }

    fn rows(rows: &[&[Option<&str>]]) -> Vec<Row> {
        rows.iter().map(|row| row.iter().map(|value| value.map(str::to_string)).collect()).collect()
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let text = render(
            &columns(&[("id", 23), ("name", 25), ("sum", 1700)]),
            &rows(&[&[Some("1"), Some("ä"), Some("10.5")], &[Some("100"), None, Some("2")]]),
            &Layout { null: "∅".into(), ..Layout::default() },
        );
        assert_eq!(
            text,
            " id  | name | sum  \n-----+------+------\n   1 | ä    | 10.5\n 100 | ∅    |    2\n(2 rows)\n\n"
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let text = render(&columns(&[("a", 25), ("b", 25)]), &rows(&[&[Some("日本"), Some("x")]]), &Layout::default());
        assert_eq!(text, "  a   | b \n------+---\n 日本 | x\n(1 row)\n\n");
    }

    #[test]
    fn a_value_of_several_lines_is_marked() {
        let text =
            render(&columns(&[("a", 25), ("b", 23)]), &rows(&[&[Some("one\ntwo2"), Some("7")]]), &Layout::default());
        assert_eq!(text, "  a   | b \n------+---\n one +| 7\n two2 |  \n(1 row)\n\n");
    }

    #[test]
    fn expanded_shows_a_value_a_line() {
        let text = render(
            &columns(&[("id", 23), ("long_name", 25)]),
            &rows(&[&[Some("1"), Some("x")]]),
            &Layout { expanded: true, ..Layout::default() },
        );
        assert_eq!(text, "-[ RECORD 1 ]\nid        | 1\nlong_name | x\n\n");
    }

    #[test]
    fn unaligned_and_tuples_only_are_for_scripts() {
        let layout = Layout { unaligned: true, tuples_only: true, ..Layout::default() };
        assert_eq!(render(&columns(&[("a", 23), ("b", 25)]), &rows(&[&[Some("1"), None]]), &layout), "1|\n");
    }
}
