//! Runs the golden scripts of `testscripts/` against the database in memory.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --release -p quorate-sql --test scripts` rewrites the expected output; read the difference before it is
//! committed. Commands, each for the session that its prefix names (`a: > SELECT 1`):
//!
//! - `> SQL`: a simple query. Rows are shown with `|` between values, NULL as `∅`, then the tag; errors with SQLSTATE and position.
//! - `bind SQL VALUE...`: the extended protocol with values as text (`NULL` is NULL) and a Sync right behind; `[types]` shows parameters
//!   and columns first, `[nosync]` leaves the Sync to the command `sync`. `rebind VALUE...` runs the statement of the last `bind` again.
//! - `data TEXT...`: the pieces that the next COPY FROM STDIN gets. `fail` makes the client give up in its middle.
//! - `status`, `sync`, `cancelled` (the next statement is cancelled while it runs), `gateway` (the session is opened at another gateway),
//!   `lose N` (the next N commits lose a race).

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use quorate_query::{Engine, Options};
use quorate_sql::error::Error;
use quorate_sql::format::{decode_text, encode_text};
use quorate_sql::memory::MemoryDatabase;
use quorate_sql::session::{Environment, Execution, Prepared, Session, Timer, TransactionStatus};
use quorate_sql::value::Value;

/// Lets time pass: nothing ever comes through the channel.
fn pass(duration: Duration) {
    let (_keep, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(duration);
}

struct ThreadTimer;

impl Timer for ThreadTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (done, wait) = oneshot::channel();
        std::thread::spawn(move || {
            pass(duration);
            let _ = done.send(());
        });
        wait.map(|_| ()).boxed()
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp(1_790_000_000, 123_456_000).expect("a valid time")
    }
}

/// The engine's operators may start tasks.
fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    runtime.block_on(work)
}

struct Client {
    session: Session,
    /// The statement of the last `bind`.
    prepared: Option<Arc<Prepared>>,
    data: Vec<String>,
    fail: bool,
}

struct Runner {
    database: MemoryDatabase,
    clients: HashMap<String, Client>,
}

fn open(database: MemoryDatabase) -> Client {
    let engine = Engine::new(&Options { memory: 64 << 20, spill: None }).expect("the engine starts");
    let environment = Environment {
        timer: Arc::new(ThreadTimer),
        process_id: 7,
        startup_parameters: vec![("application_name".to_owned(), "scripts".to_owned())],
        work_memory: 1 << 20,
        engine: Arc::new(engine),
    };
    let session =
        Session::new(Arc::new(database), "ann".to_owned(), "test".to_owned(), environment).expect("settings are valid");
    Client { session, prepared: None, data: Vec::new(), fail: false }
}

impl Client {
    /// Shows what a statement gives, to its end.
    async fn show(&mut self, execution: Execution, out: &mut String) -> Result<(), Error> {
        match execution {
            Execution::Rows(mut rows) => {
                let columns: Vec<_> = rows.columns().to_vec();
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                writeln!(out, "{}", names.join(" | ")).expect("text");
                while let Some(batch) = rows.next(&mut self.session, usize::MAX).await? {
                    for row in batch {
                        assert_eq!(row.len(), columns.len(), "a row has the columns that were announced");
                        let shown: Vec<String> =
                            row.iter().zip(&columns).map(|(value, column)| self.text(value, &column.ty)).collect();
                        writeln!(out, "{}", shown.join(" | ")).expect("text");
                    }
                }
                writeln!(out, "→ {}", rows.tag()).expect("text");
            }
            Execution::Done(tag) => writeln!(out, "→ {tag}").expect("text"),
            Execution::Empty => writeln!(out, "→ empty").expect("text"),
            Execution::CopyIn(mut copy) => {
                for piece in std::mem::take(&mut self.data) {
                    copy.data(&mut self.session, piece.as_bytes()).await?;
                }
                if std::mem::take(&mut self.fail) {
                    return Err(copy.fail(&mut self.session, "the script gave up").await);
                }
                writeln!(out, "→ {}", copy.finish(&mut self.session).await?).expect("text");
            }
            Execution::CopyOut(mut copy) => {
                while let Some(lines) = copy.next(&mut self.session).await? {
                    lines.iter().for_each(|line| out.push_str(std::str::from_utf8(line).expect("text")));
                }
                writeln!(out, "→ {}", copy.tag()).expect("text");
            }
        }
        Ok(())
    }

    fn text(&self, value: &Value, ty: &quorate_sql::types::Type) -> String {
        if value.is_null() {
            return "∅".to_owned();
        }
        let mut text = bytes::BytesMut::new();
        encode_text(value, ty, self.session.format_settings(), &mut text);
        String::from_utf8(text.to_vec()).expect("text")
    }

    async fn simple(&mut self, sql: &str, out: &mut String) -> Result<(), Error> {
        let mut script = self.session.script(sql)?;
        while let Some(execution) = script.next(&mut self.session).await? {
            self.show(execution, out).await?;
        }
        Ok(())
    }

    async fn extended(
        &mut self,
        sql: &str,
        values: &[&str],
        types: bool,
        sync: bool,
        out: &mut String,
    ) -> Result<(), Error> {
        let statement = self.session.prepare(sql, &[]).await?;
        self.prepared = Some(statement.clone());
        if types {
            let parameters: Vec<String> = statement.parameter_types().iter().map(ToString::to_string).collect();
            writeln!(out, "parameters: {}", parameters.join(", ")).expect("text");
            if let Some(columns) = statement.columns() {
                let columns: Vec<String> = columns
                    .iter()
                    .map(|column| {
                        format!(
                            "{} {}{}",
                            column.name,
                            column.ty,
                            if column.table_oid > 0 { format!(" of {}", column.column_no) } else { String::new() }
                        )
                    })
                    .collect();
                writeln!(out, "columns: {}", columns.join(", ")).expect("text");
            }
        }
        self.bind(&statement, values, sync, out).await
    }

    async fn bind(
        &mut self,
        statement: &Arc<Prepared>,
        values: &[&str],
        sync: bool,
        out: &mut String,
    ) -> Result<(), Error> {
        let mut parameters = Vec::new();
        for (text, ty) in values.iter().zip(statement.parameter_types()) {
            let value =
                if *text == "NULL" { Value::Null } else { decode_text(text, ty, self.session.format_settings())? };
            parameters.push(value);
        }
        let execution = self.session.execute(statement, parameters, sync).await?;
        self.show(execution, out).await?;
        if sync { self.session.sync().await } else { Ok(()) }
    }
}

fn explain(error: &Error, out: &mut String) {
    write!(out, "error {}: {}", error.code, error.message).expect("text");
    if let Some(position) = error.position {
        write!(out, " (at {position})").expect("text");
    }
    out.push('\n');
    for (name, text) in [("detail", &error.detail), ("hint", &error.hint), ("context", &error.context)] {
        if let Some(text) = text {
            writeln!(out, "  {name}: {text}").expect("text");
        }
    }
}

impl goldenscript::Runner for Runner {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Box<dyn StdError>> {
        let name = command.prefix.clone().unwrap_or_default();
        if command.name == "gateway" {
            self.clients.insert(name, open(self.database.another_gateway()));
            return Ok(String::new());
        }
        if command.name == "lose" {
            self.database.lose_races(command.args[0].value.parse()?);
            return Ok(String::new());
        }
        let database = self.database.clone();
        let client = self.clients.entry(name).or_insert_with(|| open(database));
        let mut out = String::new();
        let result = match command.name.as_str() {
            "data" => {
                client.data = command.args.iter().map(|argument| argument.value.clone()).collect();
                Ok(())
            }
            "fail" => {
                client.fail = true;
                Ok(())
            }
            "status" => {
                let status = match client.session.status() {
                    TransactionStatus::Idle => "idle",
                    TransactionStatus::InBlock => "in a block",
                    TransactionStatus::Failed => "in a failed block",
                };
                writeln!(out, "{status}")?;
                Ok(())
            }
            "sync" => block_on(client.session.sync()),
            "cancelled" => {
                let cancel = client.session.cancellation();
                std::thread::spawn(move || {
                    // Until the statement is sure to have begun.
                    for _ in 0..500 {
                        cancel.cancel();
                        pass(Duration::from_millis(1));
                    }
                });
                Ok(())
            }
            "bind" => {
                let values: Vec<&str> = command.args[1..].iter().map(|argument| argument.value.as_str()).collect();
                let tag = |tag: &str| command.tags.contains(tag);
                let work = client.extended(&command.args[0].value, &values, tag("types"), !tag("nosync"), &mut out);
                block_on(work)
            }
            "rebind" => {
                let values: Vec<&str> = command.args.iter().map(|argument| argument.value.as_str()).collect();
                let statement = client.prepared.clone().ok_or("nothing was bound before")?;
                block_on(client.bind(&statement, &values, true, &mut out))
            }
            sql => block_on(client.simple(sql, &mut out)),
        };
        if let Err(error) = result {
            explain(&error, &mut out);
        }
        let mut notices = String::new();
        for notice in client.session.notices() {
            writeln!(notices, "{} {}: {}", notice.severity, notice.code, notice.message)?;
        }
        for (name, value) in client.session.parameter_changes() {
            writeln!(out, "ParameterStatus {name} = {value}")?;
        }
        Ok(notices + &out)
    }
}

fn scripts(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() { scripts(&path, found) } else { found.push(path) }
    }
}

#[test]
fn golden_scripts() {
    let mut found = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts"), &mut found);
    found.sort();
    assert!(!found.is_empty());
    for path in found {
        println!("{}", path.display());
        let mut runner = Runner { database: MemoryDatabase::new(), clients: HashMap::new() };
        goldenscript::run(&mut runner, &path).expect("the script runs");
    }
}
