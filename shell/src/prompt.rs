//! The shell's loop: lines in, statements to the server, results out.

use std::io::Write;
use std::time::Instant;

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::{self, Command};
use crate::source::{Line, Source};
use crate::splitter::{Piece, Splitter};
use crate::table::{self, Layout};
use crate::wire::{Column, Connection, Event, Failure, Report, Row, Target, TransactionState};
use crate::{Args, EXIT_CONNECTION, EXIT_FATAL, EXIT_OK, EXIT_SCRIPT};

/// Depth of `\i` inside `\i`.
const INCLUDE_DEPTH: usize = 16;
/// COPY data is read from and sent in pieces of about this many bytes.
const COPY_PIECE: usize = 64 * 1024;

/// Why the shell stops before its input ends.
enum Stop {
    Quit,
    Exit(i32),
}

/// What is left of a statement's outcome once its results are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

/// A connected shell.
struct Shell {
    target: Target,
    /// `None` between losing one connection and having the next.
    connection: Option<Connection>,
    /// The number of the connection's server in the target.
    server: usize,
    layout: Layout,
    timing: bool,
    quiet: bool,
    keep_going: bool,
    interactive: bool,
    failed: bool,
    last_error: Option<(Report, String)>,
    /// Ctrl-C, while a prompt is in use; scripts just die of it.
    interrupts: Option<Signal>,
    results: Box<dyn Write + Send>,
    messages: Box<dyn Write + Send>,
}

/// Runs the shell; returns its exit code.
pub async fn run(args: Args, results: Box<dyn Write + Send>, mut messages: Box<dyn Write + Send>) -> i32 {
    let target: Target = match args.url.parse() {
        Ok(target) => target,
        Err(error) => {
            say(&mut messages, &format!("quorate sql: {error}"));
            return EXIT_FATAL;
        }
    };
    let (connection, server) = match Connection::open(&target, 0).await {
        Ok(opened) => opened,
        Err(error) => {
            say(&mut messages, &format!("quorate sql: cannot connect\n{error}"));
            return EXIT_FATAL;
        }
    };
    let mut shell = Shell {
        target,
        connection: Some(connection),
        server,
        layout: Layout { tuples_only: args.tuples_only, unaligned: args.no_align, ..Layout::default() },
        timing: false,
        quiet: args.quiet,
        keep_going: args.keep_going,
        interactive: false,
        failed: false,
        last_error: None,
        interrupts: None,
        results,
        messages,
    };
    let code = match shell.run(&args).await {
        Err(Stop::Exit(code)) => code,
        Ok(()) | Err(Stop::Quit) if shell.failed => EXIT_SCRIPT,
        Ok(()) | Err(Stop::Quit) => EXIT_OK,
    };
    if let Some(connection) = shell.connection.take() {
        connection.close().await;
    }
    let _ = shell.results.flush();
    code
}

/// Writes a line of a message. Nobody is left to tell when that fails.
fn say(out: &mut (dyn Write + Send), text: &str) {
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}

impl Shell {
    async fn run(&mut self, args: &Args) -> Result<(), Stop> {
        for text in &args.commands {
            match text.strip_prefix('\\') {
                Some(command) => {
                    let mut nothing = Source::Reader(Box::new(std::io::Cursor::new(Vec::new())));
                    self.command(command, &mut Splitter::default(), &mut nothing, 0).await?;
                }
                // Sent as it is: several statements in one text are one transaction.
                None => {
                    let mut nothing = Source::Reader(Box::new(std::io::Cursor::new(Vec::new())));
                    self.statement(text, &mut nothing).await?;
                }
            }
        }
        for path in &args.files {
            let mut source = match Source::file(path).await {
                Ok(source) => source,
                Err(error) => {
                    say(&mut self.messages, &format!("{}: {error}", path.display()));
                    return Err(Stop::Exit(EXIT_FATAL));
                }
            };
            self.lines(&mut source, 0).await?;
        }
        if !args.commands.is_empty() || !args.files.is_empty() {
            return Ok(());
        }
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            return self.lines(&mut Source::stdin(), 0).await;
        }
        let mut source = match Source::terminal() {
            Ok(source) => source,
            Err(error) => {
                say(&mut self.messages, &format!("quorate sql: the terminal cannot be used: {error}"));
                return Err(Stop::Exit(EXIT_FATAL));
            }
        };
        self.interactive = true;
        self.interrupts = signal(SignalKind::interrupt()).ok();
        if !self.quiet {
            let text = format!(
                "quorate sql {}, {}\nType \\? for help, \\q to leave.\n",
                env!("CARGO_PKG_VERSION"),
                self.whereabouts()
            );
            self.print(&text);
        }
        self.lines(&mut source, 0).await
    }

    /// Runs all lines of a source.
    async fn lines(&mut self, source: &mut Source, depth: usize) -> Result<(), Stop> {
        let mut splitter = Splitter::default();
        loop {
            let prompt = self.prompt(splitter.mark());
            let line = match source.next(&prompt).await {
                Ok(line) => line,
                Err(error) => {
                    say(&mut self.messages, &format!("quorate sql: reading failed: {error}"));
                    return Err(Stop::Exit(EXIT_FATAL));
                }
            };
            let text = match line {
                Line::Text(text) => text,
                Line::Interrupted => {
                    splitter = Splitter::default();
                    continue;
                }
                Line::End => {
                    if source.is_interactive() {
                        self.print("\\q\n");
                    } else if let Some(statement) = splitter.finish() {
                        self.statement(&statement, source).await?;
                    }
                    return Ok(());
                }
            };
            // What people type who know no backslash commands; in a script it would be a mistake to point out.
            if source.is_interactive()
                && splitter.pending().is_empty()
                && let Some(command) = command::by_word(&text)
            {
                Box::pin(self.command(command, &mut splitter, source, depth)).await?;
                continue;
            }
            // A pasted text comes as one line with line feeds inside.
            for piece in text.split('\n').flat_map(|line| splitter.push(line)).collect::<Vec<_>>() {
                match piece {
                    Piece::Statement(statement) => {
                        source.remember(&statement);
                        self.statement(&statement, source).await?;
                    }
                    Piece::Command(command) => {
                        source.remember(&format!("\\{command}"));
                        // Boxed, since a script may include another.
                        Box::pin(self.command(&command, &mut splitter, source, depth)).await?;
                    }
                }
            }
        }
    }

    fn prompt(&self, mark: char) -> String {
        let state = match self.connection.as_ref().map(|connection| connection.state) {
            None | Some(TransactionState::Idle) => "",
            Some(TransactionState::InBlock) => "*",
            Some(TransactionState::Failed) => "!",
        };
        format!("{}{mark}{state}> ", self.target.database)
    }

    fn whereabouts(&self) -> String {
        match &self.connection {
            None => "not connected".to_string(),
            Some(connection) => format!(
                "connected to {} as {}, database {}, server {}",
                connection.server,
                self.target.user,
                self.target.database,
                connection.parameters.get("server_version").map_or("unknown", String::as_str)
            ),
        }
    }

    /// Writes results. A reader that went away (`| head`) ends the shell quietly at the next statement.
    fn print(&mut self, text: &str) {
        let _ = self.results.write_all(text.as_bytes()).and_then(|()| self.results.flush());
    }

    async fn command(
        &mut self,
        text: &str,
        splitter: &mut Splitter,
        source: &mut Source,
        depth: usize,
    ) -> Result<(), Stop> {
        let command = match Command::parse(text) {
            Ok(command) => command,
            Err(message) => {
                say(&mut self.messages, &message);
                return self.after_error();
            }
        };
        let on = |value: bool| if value { "on" } else { "off" };
        match command {
            Command::Quit => return Err(Stop::Quit),
            Command::Help => self.print(command::HELP),
            Command::Timing(value) => {
                self.timing = value.unwrap_or(!self.timing);
                let text = format!("Timing is {}.\n", on(self.timing));
                self.inform(&text);
            }
            Command::Expanded(value) => {
                self.layout.expanded = value.unwrap_or(!self.layout.expanded);
                let text = format!("Expanded display is {}.\n", on(self.layout.expanded));
                self.inform(&text);
            }
            Command::TuplesOnly(value) => {
                self.layout.tuples_only = value.unwrap_or(!self.layout.tuples_only);
                let text = format!("Tuples only is {}.\n", on(self.layout.tuples_only));
                self.inform(&text);
            }
            Command::Aligned => {
                self.layout.unaligned = !self.layout.unaligned;
                let text =
                    format!("Output format is {}.\n", if self.layout.unaligned { "unaligned" } else { "aligned" });
                self.inform(&text);
            }
            Command::Null(text) => {
                let message = format!("Null display is \"{text}\".\n");
                self.layout.null = text;
                self.inform(&message);
            }
            Command::Tables => self.statement(command::TABLES, source).await?,
            Command::Databases => self.statement(command::DATABASES, source).await?,
            Command::Table(schema, table) => self.describe(schema.as_deref(), &table).await?,
            Command::ConnectionInfo => {
                let text = format!("You are {}.\n", self.whereabouts());
                self.print(&text);
            }
            Command::Connect(database) => self.connect_to(database).await?,
            Command::Include(path) => {
                if depth == INCLUDE_DEPTH {
                    say(&mut self.messages, &format!("{path}: scripts are nested too deeply"));
                    return Err(Stop::Exit(EXIT_FATAL));
                }
                match Source::file(std::path::Path::new(&path)).await {
                    Ok(mut script) => return self.lines(&mut script, depth + 1).await,
                    Err(error) => {
                        say(&mut self.messages, &format!("{path}: {error}"));
                        return self.after_error();
                    }
                }
            }
            Command::Echo(text) => self.print(&format!("{text}\n")),
            Command::LastError => {
                let text = match &self.last_error {
                    Some((report, statement)) => report.render_verbose(statement),
                    None => "There is no previous error.\n".to_string(),
                };
                self.print(&text);
            }
            Command::Go { expanded } => {
                if let Some(statement) = splitter.finish() {
                    let before = self.layout.expanded;
                    self.layout.expanded |= expanded;
                    let result = self.statement(&statement, source).await;
                    self.layout.expanded = before;
                    result?;
                }
            }
            Command::ShowBuffer => {
                let text = format!("{}\n", splitter.pending());
                self.print(&text);
            }
            Command::ResetBuffer => *splitter = Splitter::default(),
        }
        Ok(())
    }

    fn inform(&mut self, text: &str) {
        if !self.quiet {
            self.print(text);
        }
    }

    /// What an error does to the run: the prompt goes on, a script ends unless it shall go on.
    fn after_error(&mut self) -> Result<(), Stop> {
        if self.interactive {
            return Ok(());
        }
        self.failed = true;
        if self.keep_going { Ok(()) } else { Err(Stop::Exit(EXIT_SCRIPT)) }
    }

    /// Runs a text on the server and prints what comes. Failures of the connection are dealt with here.
    async fn statement(&mut self, text: &str, source: &mut Source) -> Result<(), Stop> {
        if !self.connected().await? {
            return self.after_error();
        }
        let started = Instant::now();
        let outcome = self.exchange(text, source).await;
        match outcome {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Failed) => {
                self.print_time(started);
                return self.after_error();
            }
            Err(failure) => return self.lost(failure).await,
        }
        self.print_time(started);
        Ok(())
    }

    /// Makes sure of a connection before a statement is sent. False when the statement must not run: there is no connection, or the
    /// one that was lost had a transaction open, to which the statement belonged.
    async fn connected(&mut self) -> Result<bool, Stop> {
        let Some(connection) = &mut self.connection else {
            self.reconnect().await?;
            return Ok(self.connection.is_some());
        };
        let Err(failure) = connection.check() else { return Ok(true) };
        let in_block = connection.state != TransactionState::Idle;
        say(&mut self.messages, &format!("The connection to {} was lost: {failure}", connection.server));
        self.connection = None;
        if !self.interactive {
            return Err(Stop::Exit(EXIT_CONNECTION));
        }
        if in_block {
            say(&mut self.messages, "The open transaction is rolled back; the statement was not run.");
        }
        self.server = (self.server + 1) % self.target.servers.len();
        self.reconnect().await?;
        Ok(self.connection.is_some() && !in_block)
    }

    fn print_time(&mut self, started: Instant) {
        if self.timing {
            let elapsed = started.elapsed();
            self.print(&format!("Time: {:.3} ms\n", elapsed.as_secs_f64() * 1000.0));
        }
    }

    /// One query and its answers, until the session is ready again.
    async fn exchange(&mut self, text: &str, source: &mut Source) -> Result<Outcome, Failure> {
        if let Some(interrupts) = &mut self.interrupts {
            // A Ctrl-C from before this statement does not concern it.
            while interrupts.recv().now_or_never().flatten().is_some() {}
        }
        let mut outcome = Outcome::Done;
        let mut result: Option<(Vec<Column>, Vec<Row>)> = None;
        self.connection()?.query(text).await?;
        while let Some(event) = self.next_event().await? {
            match event {
                Event::Columns(columns) => result = Some((columns, Vec::new())),
                Event::Row(row) => {
                    if let Some((_, rows)) = &mut result {
                        rows.push(row);
                    }
                }
                Event::Complete(tag) => match result.take() {
                    Some((columns, rows)) => {
                        let text = table::render(&columns, &rows, &self.layout);
                        self.print(&text);
                        if !tag.starts_with("SELECT") && !self.layout.tuples_only {
                            self.inform(&format!("{tag}\n"));
                        }
                    }
                    None if self.layout.tuples_only => {}
                    None => self.inform(&format!("{tag}\n")),
                },
                Event::Empty => {}
                Event::Error(report) => {
                    result = None;
                    outcome = Outcome::Failed;
                    say(&mut self.messages, &report.render(text));
                    self.last_error = Some((report, text.to_string()));
                }
                Event::Notice(report) => say(&mut self.messages, &report.render(text)),
                Event::CopyIn => self.copy_in(source).await?,
                Event::CopyOut => {}
                Event::CopyData(data) => {
                    let _ = self.results.write_all(&data);
                }
            }
        }
        Ok(outcome)
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection.as_mut().ok_or_else(|| Failure::Lost("not connected".to_string()))
    }

    /// The next event; Ctrl-C meanwhile asks the server to cancel.
    async fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::Lost("not connected".to_string()));
        };
        let Some(interrupts) = &mut self.interrupts else {
            return connection.next().await;
        };
        loop {
            let token = connection.cancel_token();
            tokio::select! {
                biased;
                event = connection.next() => return event,
                Some(()) = interrupts.recv() => match token.cancel().await {
                    Ok(()) => say(&mut self.messages, "Cancel request sent"),
                    Err(error) => say(&mut self.messages, &format!("The cancel request could not be sent: {error}")),
                },
            }
        }
    }

    /// Feeds COPY FROM STDIN with the lines up to `\.` or the end of the source.
    async fn copy_in(&mut self, source: &mut Source) -> Result<(), Failure> {
        if source.is_interactive() {
            self.print("Enter data to be copied followed by a newline.\nEnd with a backslash and a period on a line by itself.\n");
        }
        let mut piece = Vec::with_capacity(COPY_PIECE + 1024);
        loop {
            let line = match source.next(">> ").await {
                Ok(line) => line,
                Err(error) => return self.connection()?.copy_end(Some(&format!("reading failed: {error}"))).await,
            };
            match line {
                Line::Text(text) if text == "\\." => break,
                Line::Text(text) => {
                    piece.extend_from_slice(text.as_bytes());
                    piece.push(b'\n');
                }
                Line::Interrupted => return self.connection()?.copy_end(Some("canceled by user")).await,
                Line::End => break,
            }
            if piece.len() >= COPY_PIECE {
                self.connection()?.copy_data(&piece).await?;
                piece.clear();
            }
        }
        let connection = self.connection()?;
        if !piece.is_empty() {
            connection.copy_data(&piece).await?;
        }
        connection.copy_end(None).await
    }

    /// `\d NAME`.
    async fn describe(&mut self, schema: Option<&str>, table: &str) -> Result<(), Stop> {
        if !self.connected().await? {
            return self.after_error();
        }
        let tables = match self.collect(&command::table_query(schema, table)).await {
            Ok(Some(rows)) => rows,
            Ok(None) => return self.after_error(),
            Err(failure) => return self.lost(failure).await,
        };
        let value = |row: &Row, at: usize| row.get(at).cloned().flatten();
        let Some((found, key, distribution)) =
            tables.first().and_then(|row| Some((value(row, 0)?, value(row, 1), value(row, 2))))
        else {
            say(&mut self.messages, &format!("Did not find any table named \"{table}\"."));
            return self.after_error();
        };
        let rows = match self.collect(&command::columns_query(&found, table)).await {
            Ok(Some(rows)) => rows,
            Ok(None) => return self.after_error(),
            Err(failure) => return self.lost(failure).await,
        };
        let lines: Vec<Row> = rows
            .iter()
            .map(|row| {
                let nullable = if value(row, 2).as_deref() == Some("NO") { "not null" } else { "" };
                vec![value(row, 0), value(row, 1), Some(nullable.to_string()), Some(value(row, 3).unwrap_or_default())]
            })
            .collect();
        let columns: Vec<Column> = ["Column", "Type", "Nullable", "Default"]
            .map(|name| Column { name: name.to_string(), type_oid: 25 })
            .into();
        let layout = Layout { null: self.layout.null.clone(), ..Layout::default() };
        let text = table::render(&columns, &lines, &layout);
        // The count at its end would be one of columns, not of rows.
        let text = text.rsplit_once('(').map_or(text.as_str(), |(lines, _)| lines);
        let key = key.map(|key| format!("Primary key: ({key})\n")).unwrap_or_default();
        let distribution =
            distribution.map(|distribution| format!("Distribution: {distribution}\n")).unwrap_or_default();
        self.print(&format!("Table \"{found}.{table}\"\n{text}{key}{distribution}\n"));
        Ok(())
    }

    /// The rows of a query that the shell asks for itself; `None` after printing its error.
    async fn collect(&mut self, query: &str) -> Result<Option<Vec<Row>>, Failure> {
        let mut rows = Some(Vec::new());
        self.connection()?.query(query).await?;
        while let Some(event) = self.next_event().await? {
            match event {
                Event::Row(row) => {
                    if let Some(rows) = &mut rows {
                        rows.push(row);
                    }
                }
                Event::Error(report) => {
                    say(&mut self.messages, &report.render(query));
                    self.last_error = Some((report, query.to_string()));
                    rows = None;
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    /// `\c`: leaves the present connection only when the new one stands.
    async fn connect_to(&mut self, database: Option<String>) -> Result<(), Stop> {
        let mut target = self.target.clone();
        if let Some(database) = database {
            target.database = database;
        }
        match Connection::open(&target, self.server).await {
            Ok((connection, server)) => {
                if let Some(old) = self.connection.replace(connection) {
                    old.close().await;
                }
                self.target = target;
                self.server = server;
                let text = format!("You are now {}.\n", self.whereabouts());
                self.inform(&text);
                Ok(())
            }
            Err(error) => {
                say(&mut self.messages, &format!("cannot connect\n{error}"));
                self.after_error()
            }
        }
    }

    /// The connection broke while a statement ran.
    async fn lost(&mut self, failure: Failure) -> Result<(), Stop> {
        let connection = self.connection.take();
        let place = connection.as_ref().map(|connection| connection.server.to_string()).unwrap_or_default();
        say(&mut self.messages, &format!("The connection to {place} was lost: {failure}"));
        match connection.map(|connection| connection.state) {
            Some(TransactionState::InBlock | TransactionState::Failed) => say(
                &mut self.messages,
                "The open transaction is rolled back, unless this statement was its COMMIT: then its outcome is unknown.",
            ),
            _ => say(&mut self.messages, "The outcome of the statement is unknown; it was not repeated."),
        }
        if !self.interactive {
            return Err(Stop::Exit(EXIT_CONNECTION));
        }
        // The next server first: this one has just failed.
        self.server = (self.server + 1) % self.target.servers.len();
        self.reconnect().await
    }

    async fn reconnect(&mut self) -> Result<(), Stop> {
        match Connection::open(&self.target, self.server).await {
            Ok((connection, server)) => {
                say(&mut self.messages, &format!("Now connected to {}.", connection.server));
                self.connection = Some(connection);
                self.server = server;
                Ok(())
            }
            Err(error) if self.interactive => {
                say(&mut self.messages, &format!("No server can be reached; the next statement tries again.\n{error}"));
                Ok(())
            }
            Err(error) => {
                say(&mut self.messages, &format!("No server can be reached.\n{error}"));
                Err(Stop::Exit(EXIT_CONNECTION))
            }
        }
    }
}
