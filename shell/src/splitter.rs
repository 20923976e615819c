//! Cuts input lines into statements, at semicolons outside of strings, quoted names, comments and parentheses, and into backslash commands.
//!
//! It follows psql: a backslash outside of strings begins a command that takes the rest of the line; the statement begun before it waits.
//! It knows no SQL; whatever it gets wrong the server's parser complains about.

/// What a line gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole statement, its semicolon included.
    Statement(String),
    /// A backslash command with its arguments, without the backslash.
    Command(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Plain,
    Quote { escapes: bool },
    Identifier,
    Dollar(String),
    LineComment,
    BlockComment(usize),
}

/// Collects lines.
#[derive(Debug)]
pub struct Splitter {
    text: String,
    state: State,
    parentheses: usize,
    /// The text holds something besides white space and comments.
    begun: bool,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter { text: String::new(), state: State::Plain, parentheses: 0, begun: false }
    }
}

impl Splitter {
    /// Adds one line (without its line feed) and returns what it completed.
    pub fn push(&mut self, line: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            let c = characters[at];
            let next = characters.get(at + 1).copied();
            match &mut self.state {
                State::Plain => match c {
                    '\'' => {
                        let escapes = matches!(last_word(&self.text), "e" | "E");
                        self.state = State::Quote { escapes };
                        self.begun = true;
                    }
                    '"' => {
                        self.state = State::Identifier;
                        self.begun = true;
                    }
                    '$' if last_word(&self.text).is_empty() => {
                        self.begun = true;
                        if let Some(tag) = dollar_tag(&characters[at..]) {
                            self.text.push_str(&tag);
                            at += tag.chars().count();
                            self.state = State::Dollar(tag);
                            continue;
                        }
                    }
                    '-' if next == Some('-') => self.state = State::LineComment,
                    '/' if next == Some('*') => {
                        self.state = State::BlockComment(1);
                        self.text.push_str("/*");
                        at += 2;
                        continue;
                    }
                    '(' => {
                        self.parentheses += 1;
                        self.begun = true;
                    }
                    ')' => {
                        self.parentheses = self.parentheses.saturating_sub(1);
                        self.begun = true;
                    }
                    ';' if self.parentheses == 0 => {
                        self.text.push(';');
                        at += 1;
                        let text = std::mem::take(self).text;
                        let text = text.trim();
                        if text != ";" {
                            pieces.push(Piece::Statement(text.to_string()));
                        }
                        continue;
                    }
                    '\\' => {
                        let rest: String = characters[at + 1..].iter().collect();
                        pieces.push(Piece::Command(rest.trim().to_string()));
                        self.text.truncate(self.text.trim_end_matches(' ').len());
                        // A line with nothing but a command is no line of the statement.
                        if self.text.ends_with('\n') {
                            self.text.pop();
                        }
                        break;
                    }
                    c if !c.is_whitespace() => self.begun = true,
                    _ => {}
                },
                State::Quote { escapes } => match c {
                    '\\' if *escapes => {
                        self.text.push(c);
                        at += 1;
                        if let Some(next) = next {
                            self.text.push(next);
                            at += 1;
                        }
                        continue;
                    }
                    // A doubled quote ends one string and begins the next, which comes to the same.
                    '\'' => self.state = State::Plain,
                    _ => {}
                },
                State::Identifier if c == '"' => self.state = State::Plain,
                State::Dollar(tag) if c == '$' && starts_with(&characters[at..], tag) => {
                    self.text.push_str(tag);
                    at += tag.chars().count();
                    self.state = State::Plain;
                    continue;
                }
                State::BlockComment(depth) => {
                    let (closes, opens) = (c == '*' && next == Some('/'), c == '/' && next == Some('*'));
                    if closes || opens {
                        *depth = if opens { *depth + 1 } else { *depth - 1 };
                        let over = *depth == 0;
                        self.text.push(c);
                        self.text.extend(next);
                        at += 2;
                        if over {
                            self.state = State::Plain;
                        }
                        continue;
                    }
                }
                State::Identifier | State::Dollar(_) | State::LineComment => {}
            }
            self.text.push(c);
            at += 1;
        }
        if self.state == State::LineComment {
            self.state = State::Plain;
        }
        // Line feeds before the statement would only shift the lines that errors name.
        if self.begun || self.state != State::Plain {
            self.text.push('\n');
        } else {
            self.text.clear();
        }
        pieces
    }

    /// The statement begun so far, if any, taken out as if a semicolon had come.
    pub fn finish(&mut self) -> Option<String> {
        let taken = std::mem::take(self);
        let text = taken.text.trim();
        (taken.begun && !text.is_empty()).then(|| text.to_string())
    }

    /// The text waiting for its end.
    pub fn pending(&self) -> &str {
        self.text.trim()
    }

    /// Nothing is waiting.
    pub fn is_empty(&self) -> bool {
        !self.begun && self.state == State::Plain
    }

    /// The prompt's mark: `=` at the start of a statement, `-` in one, else what is open.
    pub fn mark(&self) -> char {
        match &self.state {
            State::Quote { .. } => '\'',
            State::Identifier => '"',
            State::Dollar(_) => '$',
            State::BlockComment(_) => '*',
            State::Plain | State::LineComment if self.parentheses > 0 => '(',
            State::Plain | State::LineComment if self.begun => '-',
            State::Plain | State::LineComment => '=',
        }
    }
}

/// The letters and digits at the end of `text`: what a quote or dollar sign right after it belongs to.
fn last_word(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || *c == '_' || *c == '$')
        .last()
        .map_or(text.len(), |(at, _)| at);
    &text[start..]
}

fn dollar_tag(characters: &[char]) -> Option<String> {
    let mut tag = String::from("$");
    for (at, &c) in characters.iter().enumerate().skip(1) {
        tag.push(c);
        match c {
            '$' => return Some(tag),
            c if c.is_alphabetic() || c == '_' || (at > 1 && c.is_numeric()) => {}
            _ => return None,
        }
    }
    None
}

fn starts_with(characters: &[char], tag: &str) -> bool {
    tag.chars().enumerate().all(|(at, c)| characters.get(at) == Some(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(lines: &[&str]) -> (Vec<Piece>, Splitter) {
        let mut splitter = Splitter::default();
        let pieces = lines.iter().flat_map(|line| splitter.push(line)).collect();
        (pieces, splitter)
    }

    fn statements(lines: &[&str]) -> Vec<String> {
        let (pieces, splitter) = split(lines);
        assert!(splitter.is_empty(), "left: {:?}", splitter.pending());
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Statement(text) => text,
                Piece::Command(text) => format!("\\{text}"),
            })
            .collect()
    }

    #[test]
    fn statements_end_at_semicolons() {
        assert_eq!(statements(&["select 1; select", "2;;"]), ["select 1;", "select\n2;"]);
    }

    #[test]
    fn semicolons_inside_quotes_comments_and_parentheses_end_nothing() {
        for text in [
            "select ';';",
            "select 'it''s;';",
            "select E'\\';';",
            "select \"a;b\";",
            "select $$ ; $$;",
            "select $x$ ; $$ ; $x$;",
            "select 1 /* ; /* ; */ ; */;",
            "select (1; 2);",
            "select a$1, $1;",
        ] {
            assert_eq!(statements(&[text]), [text]);
        }
        assert_eq!(statements(&["select 1 -- ; no", ";"]), ["select 1 -- ; no\n;"]);
        // Without E, a backslash is a character like others.
        assert_eq!(statements(&["select '\\'; select 2;"]), ["select '\\';", "select 2;"]);
    }

    #[test]
    fn the_mark_says_what_is_open() {
        for (line, mark) in [
            ("", '='),
            ("-- nothing", '='),
            ("select", '-'),
            ("select '", '\''),
            ("select \"", '"'),
            ("select $a$", '$'),
            ("select (", '('),
            ("/* text", '*'),
        ] {
            assert_eq!(split(&[line]).1.mark(), mark, "{line}");
        }
    }

    #[test]
    fn a_backslash_command_leaves_the_statement_waiting() {
        let (pieces, mut splitter) = split(&["select 1", "\\timing on", "+ 1 \\g"]);
        assert_eq!(pieces, [Piece::Command("timing on".into()), Piece::Command("g".into())]);
        assert_eq!(splitter.finish().as_deref(), Some("select 1\n+ 1"));
        assert!(splitter.is_empty());
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn comments_alone_are_no_statement() {
        let (pieces, mut splitter) = split(&["-- a", "/* b */", "", "  "]);
        assert!(pieces.is_empty());
        assert_eq!(splitter.finish(), None);
    }
}
