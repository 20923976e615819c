//! The lines of COPY: text format with backslash escapes, and CSV.
//!
//! [`CopyReader`] is fed with pieces of the stream as they come and gives back whole records; the fields of a record are its text,
//! unescaped, `None` for NULL. [`write_record`] is the other direction. Types and counts of columns are the caller's business.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use crate::error::{Error, SqlState};

/// A record longer than this is refused (54000) instead of collected without end: 1 GiB, as PostgreSQL's limit of a field.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// How a COPY stream is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// CSV instead of text.
    pub csv: bool,
    /// Between fields: tab in text, comma in CSV.
    pub delimiter: u8,
    /// What stands for NULL: `\N` in text, nothing in CSV.
    pub null: String,
    /// Whether the first line holds names: skipped when reading, written by the caller.
    pub header: bool,
    /// CSV: around fields.
    pub quote: u8,
    /// CSV: before a quote within quotes.
    pub escape: u8,
}

impl CopyOptions {
    /// The text format.
    pub fn text() -> Self {
        Self { csv: false, delimiter: b'\t', null: "\\N".to_owned(), header: false, quote: b'"', escape: b'"' }
    }

    /// CSV.
    pub fn csv() -> Self {
        Self { csv: true, delimiter: b',', null: String::new(), header: false, quote: b'"', escape: b'"' }
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// 22023, as PostgreSQL reports them.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |message: &str| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        if matches!(self.delimiter, b'\n' | b'\r') {
            return bad("COPY delimiter cannot be newline or carriage return");
        }
        if self.null.contains(['\n', '\r']) {
            return bad("COPY null representation cannot use newline or carriage return");
        }
        if !self.csv
            && (self.delimiter.is_ascii_lowercase()
                || self.delimiter.is_ascii_digit()
                || matches!(self.delimiter, b'\\' | b'.'))
        {
            return bad(&format!("COPY delimiter cannot be \"{}\"", char::from(self.delimiter)));
        }
        if self.csv && self.delimiter == self.quote {
            return bad("COPY delimiter and quote must be different");
        }
        if self.null.as_bytes().contains(&self.delimiter) {
            return bad("COPY delimiter must not appear in the NULL specification");
        }
        if self.csv && self.null.as_bytes().contains(&self.quote) {
            return bad("CSV quote character must not appear in the NULL specification");
        }
        Ok(())
    }
}

/// Turns a stream into records.
#[derive(Debug)]
pub struct CopyReader {
    options: CopyOptions,
    input: Vec<u8>,
    /// Start of what has not been given out yet.
    start: usize,
    /// Up to where the unfinished record has been looked through already, and whether that place is within quotes.
    scanned: usize,
    in_quotes: bool,
    skip_header: bool,
    finished: bool,
    line: u64,
    text: String,
    fields: Vec<Option<Range<usize>>>,
}

/// The fields of one record.
#[derive(Debug)]
pub struct Record<'a> {
    text: &'a str,
    fields: &'a [Option<Range<usize>>],
}

impl<'a> Record<'a> {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field's text; `None` for NULL.
    pub fn get(&self, field: usize) -> Option<&'a str> {
        self.fields[field].as_ref().map(|range| &self.text[range.clone()])
    }
}

impl CopyReader {
    /// A reader at the start of a stream.
    pub fn new(options: CopyOptions) -> Self {
        let skip_header = options.header;
        Self {
            options,
            input: Vec::new(),
            start: 0,
            scanned: 0,
            in_quotes: false,
            skip_header,
            finished: false,
            line: 0,
            text: String::new(),
            fields: Vec::new(),
        }
    }

    /// Takes in the next piece of the stream. What follows an end marker (`\.`) is left aside.
    pub fn push(&mut self, data: &[u8]) {
        if self.finished {
            return;
        }
        if self.start > 0 {
            self.input.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.input.extend_from_slice(data);
    }

    /// The number of the line last given out, from 1: for `COPY t, line 3`.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Bytes held that are no whole record yet.
    pub fn buffered(&self) -> usize {
        self.input.len() - self.start
    }

    /// The next whole record; `None` when more input is needed, or at the end marker.
    ///
    /// # Errors
    /// 22P04 for a malformed record, 22021 for text that is no UTF-8, 54000 for a record that is too long.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        loop {
            let Some(end) = self.find_end()? else { return Ok(None) };
            if self.take_line(self.start..end, end + 1)? {
                return Ok(Some(Record { text: &self.text, fields: &self.fields }));
            }
            if self.finished {
                return Ok(None);
            }
        }
    }

    /// At the end of the stream: the last record, if it lacks its line end. To be called when `next_record` gave `None`.
    ///
    /// # Errors
    /// As [`CopyReader::next_record`]; 22P04 `unterminated CSV quoted field`.
    pub fn finish(&mut self) -> Result<Option<Record<'_>>, Error> {
        if self.finished || self.start == self.input.len() {
            return Ok(None);
        }
        if self.in_quotes {
            return Err(bad_format("unterminated CSV quoted field"));
        }
        let end = self.input.len();
        let whole = self.take_line(self.start..end, end)?;
        Ok(whole.then_some(Record { text: &self.text, fields: &self.fields }))
    }

    /// The place of the line feed that ends the record.
    fn find_end(&mut self) -> Result<Option<usize>, Error> {
        if self.finished {
            return Ok(None);
        }
        let input = &self.input;
        let mut at = self.scanned;
        let found = if self.options.csv {
            let (quote, escape) = (self.options.quote, self.options.escape);
            loop {
                let Some(byte) = input.get(at) else { break None };
                if self.in_quotes && escape != quote && *byte == escape {
                    // The byte after it is part of it; wait until it is there.
                    if at + 1 == input.len() {
                        break None;
                    }
                    at += 2;
                    continue;
                }
                if *byte == quote {
                    self.in_quotes = !self.in_quotes;
                } else if *byte == b'\n' && !self.in_quotes {
                    break Some(at);
                }
                at += 1;
            }
        } else {
            loop {
                let rest = &input[at..];
                let Some(offset) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\\')) else {
                    at = input.len();
                    break None;
                };
                at += offset;
                if input[at] == b'\n' {
                    break Some(at);
                }
                // An escaped line feed belongs to the field.
                if at + 1 == input.len() {
                    break None;
                }
                at += 2;
            }
        };
        self.scanned = found.unwrap_or(at);
        if found.is_none() && input.len() - self.start > RECORD_BYTES_MAX {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a line of COPY data is too long"));
        }
        Ok(found)
    }

    /// Splits one line; `false` if it is no record (the header, the end marker).
    fn take_line(&mut self, range: Range<usize>, next: usize) -> Result<bool, Error> {
        self.line += 1;
        self.start = next;
        self.scanned = next;
        let mut line = &self.input[range];
        if let [head @ .., b'\r'] = line {
            line = head;
        }
        if line == b"\\." {
            self.finished = true;
            return Ok(false);
        }
        if std::mem::take(&mut self.skip_header) {
            return Ok(false);
        }
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes.clear();
        self.fields.clear();
        if self.options.csv {
            split_csv(line, &self.options, &mut bytes, &mut self.fields)?;
        } else {
            split_text(line, &self.options, &mut bytes, &mut self.fields)?;
        }
        let invalid = |byte: u8| {
            Error::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
            )
        };
        if bytes.contains(&0) {
            return Err(invalid(0));
        }
        self.text = String::from_utf8(bytes).map_err(|e| invalid(e.as_bytes()[e.utf8_error().valid_up_to()]))?;
        // Escapes may have put a field's border into a character only if the whole is no UTF-8 in its parts.
        let borders = self
            .fields
            .iter()
            .flatten()
            .all(|f| self.text.is_char_boundary(f.start) && self.text.is_char_boundary(f.end));
        if borders { Ok(true) } else { Err(invalid(self.text.as_bytes()[0])) }
    }
}

#[cold]
fn bad_format(message: &str) -> Error {
    Error::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn split_text(
    line: &[u8],
    options: &CopyOptions,
    out: &mut Vec<u8>,
    fields: &mut Vec<Option<Range<usize>>>,
) -> Result<(), Error> {
    let mut rest = line;
    loop {
        // The end of the field in the raw line: a delimiter that no backslash precedes.
        let mut end = 0;
        let mut escaped = false;
        while let Some(byte) = rest.get(end) {
            if *byte == options.delimiter {
                break;
            }
            if *byte == b'\\' {
                escaped = true;
                end += 1;
            }
            end += 1;
        }
        let end = end.min(rest.len());
        let raw = &rest[..end];
        let start = out.len();
        if raw == options.null.as_bytes() {
            fields.push(None);
        } else {
            if escaped {
                unescape(raw, out)
            } else {
                out.extend_from_slice(raw)
            }
            fields.push(Some(start..out.len()));
        }
        if end == rest.len() {
            return Ok(());
        }
        rest = &rest[end + 1..];
    }
}

/// `\t` and the like, `\ooo` octal, `\xhh` hexadecimal; a backslash before anything else means just that.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else {
            // A backslash at the very end stands for itself.
            out.push(b'\\');
            return;
        };
        rest = tail;
        let digits = |from: &[u8], base: u32, most: usize| {
            let count = from.iter().take(most).take_while(|b| char::from(**b).is_digit(base)).count();
            let value = from[..count].iter().fold(0, |n, b| n * base + char::from(*b).to_digit(base).unwrap_or(0));
            (count, value as u8)
        };
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let (more, value) = digits(rest, 8, 2);
                out.push((u32::from(escape - b'0') * 8u32.pow(more as u32) + u32::from(value)) as u8);
                rest = &rest[more..];
            }
            b'x' => match digits(rest, 16, 2) {
                (0, _) => out.push(b'x'),
                (count, value) => {
                    out.push(value);
                    rest = &rest[count..];
                }
            },
            other => out.push(other),
        }
    }
}

fn split_csv(
    line: &[u8],
    options: &CopyOptions,
    out: &mut Vec<u8>,
    fields: &mut Vec<Option<Range<usize>>>,
) -> Result<(), Error> {
    let mut at = 0;
    loop {
        let start = out.len();
        let (mut quoted, mut in_quotes) = (false, false);
        while let Some(&byte) = line.get(at) {
            if in_quotes {
                at += 1;
                if byte == options.escape
                    && line.get(at).is_some_and(|next| *next == options.quote || *next == options.escape)
                {
                    out.push(line[at]);
                    at += 1;
                } else if byte == options.quote {
                    in_quotes = false;
                } else {
                    out.push(byte);
                }
            } else if byte == options.delimiter {
                break;
            } else {
                at += 1;
                if byte == options.quote {
                    (quoted, in_quotes) = (true, true);
                } else {
                    out.push(byte);
                }
            }
        }
        if in_quotes {
            return Err(bad_format("unterminated CSV quoted field"));
        }
        let null = !quoted && out[start..] == *options.null.as_bytes();
        fields.push((!null).then_some(start..out.len()));
        if at == line.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// Appends one record with its line feed. Fields are the text of values, `None` for NULL.
pub fn write_record<'a>(fields: impl IntoIterator<Item = Option<&'a str>>, options: &CopyOptions, out: &mut BytesMut) {
    let start = out.len();
    let mut count = 0;
    for field in fields {
        if count > 0 {
            out.put_u8(options.delimiter);
        }
        count += 1;
        match field {
            None => out.put_slice(options.null.as_bytes()),
            Some(text) if options.csv => write_csv_field(text, options, out),
            Some(text) => write_text_field(text, options.delimiter, out),
        }
    }
    // A lone \. would end the stream.
    if options.csv && count == 1 && &out[start..] == b"\\." {
        out.truncate(start);
        out.put_u8(options.quote);
        out.put_slice(b"\\.");
        out.put_u8(options.quote);
    }
    out.put_u8(b'\n');
}

fn write_text_field(text: &str, delimiter: u8, out: &mut BytesMut) {
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let escape = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            other if *other == delimiter => delimiter,
            _ => continue,
        };
        out.put_slice(&bytes[plain..at]);
        out.put_slice(&[b'\\', escape]);
        plain = at + 1;
    }
    out.put_slice(&bytes[plain..]);
}

fn write_csv_field(text: &str, options: &CopyOptions, out: &mut BytesMut) {
    let bytes = text.as_bytes();
    let special = |byte: &u8| *byte == options.delimiter || *byte == options.quote || matches!(byte, b'\n' | b'\r');
    if text != options.null && !bytes.iter().any(special) {
        out.put_slice(bytes);
        return;
    }
    out.put_u8(options.quote);
    for byte in bytes {
        if *byte == options.quote || *byte == options.escape {
            out.put_u8(options.escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(options.quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All records of a stream that comes in pieces of `size` bytes.
    fn read(options: &CopyOptions, data: &[u8], size: usize) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut reader = CopyReader::new(options.clone());
        let mut records = Vec::new();
        let collect =
            |record: Record<'_>| (0..record.len()).map(|i| record.get(i).map(str::to_owned)).collect::<Vec<_>>();
        for piece in data.chunks(size) {
            reader.push(piece);
            while let Some(record) = reader.next_record()? {
                records.push(collect(record));
            }
        }
        if let Some(record) = reader.finish()? {
            records.push(collect(record));
        }
        Ok(records)
    }

    fn both(options: &CopyOptions, data: &str) -> Vec<Vec<Option<String>>> {
        let whole = read(options, data.as_bytes(), 1 << 20).expect("reads");
        for size in 1..8 {
            assert_eq!(read(options, data.as_bytes(), size).expect("reads"), whole, "in pieces of {size}");
        }
        whole
    }

    fn row(fields: &[Option<&str>]) -> Vec<Option<String>> {
        fields.iter().map(|field| field.map(str::to_owned)).collect()
    }

    #[test]
    fn text_escapes_are_undone() {
        let data = "1\ta\\tb\\\\\\n\t\\N\r\n\t\\101\\x41\\q\\\n!\t\\\\N\n\\.\nrest\n";
        let expected = vec![row(&[Some("1"), Some("a\tb\\\n"), None]), row(&[Some(""), Some("AAq\n!"), Some("\\N")])];
        assert_eq!(both(&CopyOptions::text(), data), expected);
        assert_eq!(both(&CopyOptions::text(), "x"), vec![row(&[Some("x")])], "the last line feed may be missing");
        assert_eq!(both(&CopyOptions::text(), "\n"), vec![row(&[Some("")])]);
    }

    #[test]
    fn csv_quotes_span_lines() {
        let data = "a,\"b,\"\"c\"\"\nd\",,\"\"\r\n1,2,3,4\n";
        let expected = vec![
            row(&[Some("a"), Some("b,\"c\"\nd"), None, Some("")]),
            row(&[Some("1"), Some("2"), Some("3"), Some("4")]),
        ];
        assert_eq!(both(&CopyOptions::csv(), data), expected);
        let error = read(&CopyOptions::csv(), b"a,\"b", 9).map_err(|e| e.message.clone());
        assert_eq!(error, Err("unterminated CSV quoted field".to_owned()));
        let backslash = CopyOptions { escape: b'\\', header: true, ..CopyOptions::csv() };
        assert_eq!(both(&backslash, "h1,h2\n\"a\\\"b\\\\\n\",x\n"), vec![row(&[Some("a\"b\\\n"), Some("x")])]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let records = [
            vec![Some("plain"), None, Some("")],
            vec![Some("tab\there"), Some("line\nfeed\r"), Some("back\\slash")],
            vec![Some("\\N"), Some("a,b\"c"), Some("ünïcode")],
            vec![Some("\\."), Some(""), None],
        ];
        for options in [
            CopyOptions::text(),
            CopyOptions::csv(),
            CopyOptions { delimiter: b'|', null: "nil".to_owned(), ..CopyOptions::text() },
        ] {
            let mut out = BytesMut::new();
            for record in &records {
                write_record(record.iter().copied(), &options, &mut out);
            }
            let text = String::from_utf8(out.to_vec()).expect("UTF-8");
            assert_eq!(both(&options, &text), records.iter().map(|r| row(r)).collect::<Vec<_>>());
        }
        let mut out = BytesMut::new();
        write_record([Some("\\.")], &CopyOptions::csv(), &mut out);
        assert_eq!(&out[..], b"\"\\.\"\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for data in [&b"a\xff\n"[..], b"a\\000\n", b"\\xc3\t\\xa4\n"] {
            assert_eq!(
                read(&CopyOptions::text(), data, 100).map_err(|e| e.code),
                Err(SqlState::CHARACTER_NOT_IN_REPERTOIRE)
            );
        }
    }

    #[test]
    fn options_that_contradict_are_refused() {
        assert!(CopyOptions::text().check().is_ok());
        assert!(CopyOptions::csv().check().is_ok());
        assert!(CopyOptions { delimiter: b'\n', ..CopyOptions::text() }.check().is_err());
        assert!(CopyOptions { delimiter: b'a', ..CopyOptions::text() }.check().is_err());
        assert!(CopyOptions { quote: b',', ..CopyOptions::csv() }.check().is_err());
        assert!(CopyOptions { null: "a\tb".to_owned(), ..CopyOptions::text() }.check().is_err());
    }
}
