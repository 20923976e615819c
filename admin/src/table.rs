//! Tables of text: columns as wide as their widest value, headings underlined, numbers to the right.

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub heading: &'static str,
    /// Numbers are aligned to the right.
    pub numeric: bool,
}

/// A column of text.
#[must_use]
pub const fn text(heading: &'static str) -> Column {
    Column { heading, numeric: false }
}

/// A column of numbers.
#[must_use]
pub const fn number(heading: &'static str) -> Column {
    Column { heading, numeric: true }
}

/// The table, each line ended by a line feed and without spaces at its end.
///
/// # Panics
/// When a row does not have as many values as there are columns.
#[must_use]
pub fn render(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| rows.iter().map(|row| width(&row[index])).fold(width(column.heading), usize::max))
        .collect();
    let line = |values: &mut dyn Iterator<Item = (String, bool)>| {
        let cells: Vec<String> = values
            .zip(&widths)
            .map(|((value, right), width)| if right { format!("{value:>width$}") } else { format!("{value:<width$}") })
            .collect();
        cells.join(" ").trim_end().to_owned() + "\n"
    };
    let mut output = line(&mut columns.iter().map(|column| (column.heading.to_owned(), false)));
    output += &line(&mut widths.iter().map(|width| ("-".repeat(*width), false)));
    for row in rows {
        assert_eq!(row.len(), columns.len(), "a value for every column");
        output += &line(&mut row.iter().cloned().zip(columns.iter().map(|column| column.numeric)));
    }
    output
}
