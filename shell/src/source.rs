//! Where the shell's lines come from: the terminal, a file, standard input, or a text.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

/// Entries kept in the history file.
const HISTORY_ENTRIES: usize = 5000;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its line feed.
    Text(String),
    /// Ctrl-C at the prompt: forget what was typed.
    Interrupted,
    /// Nothing more.
    End,
}

/// A source of lines.
pub enum Source {
    /// The terminal, with editing and history.
    Terminal(Box<Terminal>),
    /// Anything else.
    Reader(Box<dyn AsyncBufRead + Send + Unpin>),
}

/// Line editor and history file.
pub struct Terminal {
    /// Lent to the blocking thread while it reads.
    editor: Option<DefaultEditor>,
    history: Option<PathBuf>,
}

impl Source {
    /// The terminal; history in `~/.quorate_history`. An unreadable history is no history.
    pub fn terminal() -> Result<Source, ReadlineError> {
        let config = rustyline::Config::builder().max_history_size(HISTORY_ENTRIES)?.auto_add_history(false).build();
        let mut editor = DefaultEditor::with_config(config)?;
        let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".quorate_history"));
        if let Some(path) = &history {
            // It does not exist the first time.
            let _ = editor.load_history(path);
        }
        Ok(Source::Terminal(Box::new(Terminal { editor: Some(editor), history })))
    }

    /// Standard input as a script.
    pub fn stdin() -> Source {
        Source::Reader(Box::new(BufReader::new(tokio::io::stdin())))
    }

    /// A file; "-" is standard input.
    pub async fn file(path: &std::path::Path) -> std::io::Result<Source> {
        if path.as_os_str() == "-" {
            return Ok(Source::stdin());
        }
        Ok(Source::Reader(Box::new(BufReader::new(tokio::fs::File::open(path).await?))))
    }

    /// True for the terminal.
    pub fn is_interactive(&self) -> bool {
        matches!(self, Source::Terminal(_))
    }

    /// The next line. The prompt is shown by terminals only.
    pub async fn next(&mut self, prompt: &str) -> std::io::Result<Line> {
        match self {
            Source::Reader(reader) => {
                let mut bytes = Vec::new();
                if reader.read_until(b'\n', &mut bytes).await? == 0 {
                    return Ok(Line::End);
                }
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                let text = String::from_utf8(bytes)
                    .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "the input is not UTF-8"))?;
                Ok(Line::Text(text))
            }
            Source::Terminal(terminal) => {
                let mut editor = terminal.editor.take().expect("the editor comes back after each line");
                let prompt = prompt.to_string();
                let (editor, line) = tokio::task::spawn_blocking(move || {
                    let line = editor.readline(prompt.as_str());
                    (editor, line)
                })
                .await
                .map_err(std::io::Error::other)?;
                terminal.editor = Some(editor);
                match line {
                    Ok(text) => Ok(Line::Text(text)),
                    Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                    Err(ReadlineError::Eof) => Ok(Line::End),
                    Err(ReadlineError::Io(error)) => Err(error),
                    Err(error) => Err(std::io::Error::other(error)),
                }
            }
        }
    }

    /// Remembers a statement or command. Losing the history is not worth a message.
    pub fn remember(&mut self, entry: &str) {
        if let Source::Terminal(terminal) = self
            && let Terminal { editor: Some(editor), history } = terminal.as_mut()
            && let Ok(true) = editor.add_history_entry(entry)
            && let Some(path) = history
        {
            let _ = editor.append_history(path.as_path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_script_gives_its_lines_and_then_ends() {
        let mut source = Source::Reader(Box::new(std::io::Cursor::new(b"one\r\n\ntwo".to_vec())));
        for expected in [Line::Text("one".into()), Line::Text("".into()), Line::Text("two".into()), Line::End] {
            assert_eq!(source.next("").await.expect("it reads"), expected);
        }
    }
}
