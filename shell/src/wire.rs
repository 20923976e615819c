//! One connection to a gateway: the simple query protocol, cancelling, and the list of servers to choose from.
//!
//! The shell speaks the protocol itself, through `postgres-protocol`'s messages, since it needs what drivers hide: the command tags, the
//! transaction's state in ReadyForQuery, column types of simple queries, and COPY inside scripts. One statement runs at a time.
//!
//! Failures: [`Failure::Lost`] when the connection ended or broke its protocol; the object is useless afterwards. Errors of statements are
//! [`Event::Error`], not failures.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::Host;
use tokio_postgres::fallible_iterator::FallibleIterator;

/// How long one server may take to accept a connection, unless the URL has `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The URL cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// No server took the connection; one line per server.
    #[error("{0}")]
    Refused(String),
    /// It was lost.
    #[error("{0}")]
    Lost(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Lost(error.to_string())
    }
}

/// One server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a URL says.
#[derive(Clone, Debug)]
pub struct Target {
    /// The servers in the order of the URL; never empty.
    pub servers: Vec<Server>,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// `options` for the server (`-c name=value`).
    pub options: Option<String>,
    /// What the server is told about this client.
    pub application_name: String,
    /// Limit for one attempt.
    pub connect_timeout: Duration,
}

impl FromStr for Target {
    type Err = Failure;

    fn from_str(url: &str) -> Result<Target, Failure> {
        let config: tokio_postgres::Config =
            url.parse().map_err(|error| Failure::Usage(format!("\"{url}\" is not a database URL: {error}")))?;
        let ports = config.get_ports();
        let mut servers = Vec::new();
        for (at, host) in config.get_hosts().iter().enumerate() {
            let port = match ports {
                [] => 5432,
                [one] => *one,
                many => many.get(at).copied().unwrap_or(5432),
            };
            match host {
                Host::Tcp(host) => servers.push(Server { host: host.clone(), port }),
                #[cfg(unix)]
                Host::Unix(path) => {
                    return Err(Failure::Usage(format!("Unix sockets are not supported: {}", path.display())));
                }
            }
        }
        if servers.is_empty() {
            return Err(Failure::Usage(format!("\"{url}\" names no host")));
        }
        Ok(Target {
            servers,
            user: config.get_user().map(str::to_string).unwrap_or_else(default_user),
            database: config.get_dbname().unwrap_or("demo").to_string(),
            options: config.get_options().map(str::to_string),
            application_name: config.get_application_name().unwrap_or("quorate sql").to_string(),
            connect_timeout: config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT),
        })
    }
}

fn default_user() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "quorate".to_string())
}

/// State of the session's transaction, from ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Outside a block.
    Idle,
    /// In a block.
    InBlock,
    /// In a block that failed.
    Failed,
}

/// A column of a result.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Type, by PostgreSQL's oid.
    pub type_oid: u32,
}

/// One row: the text of each value, `None` for NULL.
pub type Row = Vec<Option<String>>;

/// An error or a notice.
#[derive(Clone, Debug, Default)]
pub struct Report {
    fields: BTreeMap<u8, String>,
}

impl Report {
    /// A field by its protocol letter.
    pub fn field(&self, letter: u8) -> Option<&str> {
        self.fields.get(&letter).map(String::as_str)
    }

    /// SQLSTATE.
    pub fn code(&self) -> &str {
        self.field(b'C').unwrap_or("XX000")
    }

    /// As psql shows it: severity and message, the place in `statement`, detail and hint.
    pub fn render(&self, statement: &str) -> String {
        let mut text = format!("{}:  {}\n", self.field(b'S').unwrap_or("ERROR"), self.field(b'M').unwrap_or(""));
        if let Some(position) = self.field(b'P').and_then(|position| position.parse().ok()) {
            text.push_str(&place(statement, position));
        }
        for (letter, label) in [(b'D', "DETAIL"), (b'H', "HINT"), (b'W', "CONTEXT")] {
            if let Some(value) = self.field(letter) {
                text.push_str(&format!("{label}:  {value}\n"));
            }
        }
        text
    }

    /// Every field, for `\errverbose`.
    pub fn render_verbose(&self, statement: &str) -> String {
        let mut text = self.render(statement);
        text.push_str(&format!("SQLSTATE:  {}\n", self.code()));
        for (letter, label) in [
            (b's', "SCHEMA NAME"),
            (b't', "TABLE NAME"),
            (b'c', "COLUMN NAME"),
            (b'd', "DATATYPE NAME"),
            (b'n', "CONSTRAINT NAME"),
        ] {
            if let Some(value) = self.field(letter) {
                text.push_str(&format!("{label}:  {value}\n"));
            }
        }
        text
    }

    fn from_fields(mut fields: ErrorFields<'_>) -> std::io::Result<Report> {
        let mut report = Report::default();
        while let Some(field) = fields.next()? {
            report.fields.insert(field.type_(), String::from_utf8_lossy(field.value_bytes()).into_owned());
        }
        Ok(report)
    }
}

/// The line of `statement` that holds the 1-based character `position`, and a caret under it. Long lines are cut around the place.
fn place(statement: &str, position: usize) -> String {
    const SHOWN: usize = 60;
    let Some(index) = position.checked_sub(1) else { return String::new() };
    let characters: Vec<char> = statement.chars().collect();
    if index > characters.len() {
        return String::new();
    }
    let start = characters[..index].iter().rposition(|&c| c == '\n').map_or(0, |at| at + 1);
    let end = characters[index..].iter().position(|&c| c == '\n').map_or(characters.len(), |at| index + at);
    let number = characters[..index].iter().filter(|&&c| c == '\n').count() + 1;
    let (mut from, mut to) = (start, end);
    if end - start > SHOWN {
        from = index.saturating_sub(SHOWN / 2).clamp(start, end - SHOWN);
        to = from + SHOWN;
    }
    let clean = |range: &[char]| range.iter().map(|&c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let lead = format!("LINE {number}: {}", if from > start { "..." } else { "" });
    let before = clean(&characters[from..index]);
    let caret =
        unicode_width::UnicodeWidthStr::width(lead.as_str()) + unicode_width::UnicodeWidthStr::width(before.as_str());
    format!("{lead}{}{}\n{}^\n", clean(&characters[from..to]), if to < end { "..." } else { "" }, " ".repeat(caret))
}

/// What the server sends while a query runs.
#[derive(Debug)]
pub enum Event {
    /// A result begins.
    Columns(Vec<Column>),
    /// One of its rows.
    Row(Row),
    /// A statement is done; its command tag.
    Complete(String),
    /// The query held no statement.
    Empty,
    /// A statement failed.
    Error(Report),
    /// A notice or warning.
    Notice(Report),
    /// The server waits for COPY data: [`Connection::copy_data`], then [`Connection::copy_end`].
    CopyIn,
    /// COPY data follows.
    CopyOut,
    /// A piece of it.
    CopyData(Bytes),
}

/// What it takes to cancel the running statement, without its connection.
#[derive(Clone, Debug)]
pub struct CancelToken {
    server: Server,
    process_id: i32,
    secret_key: i32,
}

impl CancelToken {
    /// Asks the server to cancel; it answers by closing the connection.
    pub async fn cancel(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((self.server.host.as_str(), self.server.port)).await?;
        let mut message = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret_key, &mut message);
        stream.write_all(&message).await?;
        stream.read(&mut [0]).await.map(|_| ())
    }
}

/// An open session.
#[derive(Debug)]
pub struct Connection {
    /// Where it goes.
    pub server: Server,
    /// The transaction's state after the last statement.
    pub state: TransactionState,
    /// ParameterStatus values.
    pub parameters: BTreeMap<String, String>,
    stream: TcpStream,
    input: BytesMut,
    process_id: i32,
    secret_key: i32,
}

impl Connection {
    /// Tries the servers in turn, beginning with number `first`; returns the connection and the number of its server.
    pub async fn open(target: &Target, first: usize) -> Result<(Connection, usize), Failure> {
        let mut failures = Vec::new();
        for step in 0..target.servers.len() {
            let at = (first + step) % target.servers.len();
            let server = &target.servers[at];
            match tokio::time::timeout(target.connect_timeout, Connection::open_one(target, server)).await {
                Ok(Ok(connection)) => return Ok((connection, at)),
                Ok(Err(error)) => failures.push(format!("{server}: {error}")),
                Err(_) => failures.push(format!("{server}: no answer within {:?}", target.connect_timeout)),
            }
        }
        Err(Failure::Refused(failures.join("\n")))
    }

    async fn open_one(target: &Target, server: &Server) -> Result<Connection, Failure> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            server: server.clone(),
            state: TransactionState::Idle,
            parameters: BTreeMap::new(),
            stream,
            input: BytesMut::with_capacity(8192),
            process_id: 0,
            secret_key: 0,
        };
        let mut message = BytesMut::new();
        let mut parameters = vec![
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("application_name", target.application_name.as_str()),
            ("client_encoding", "UTF8"),
        ];
        if let Some(options) = &target.options {
            parameters.push(("options", options));
        }
        frontend::startup_message(parameters, &mut message)?;
        connection.stream.write_all(&message).await?;
        loop {
            match connection.receive().await? {
                Message::AuthenticationOk => {}
                Message::BackendKeyData(key) => {
                    connection.process_id = key.process_id();
                    connection.secret_key = key.secret_key();
                }
                Message::ParameterStatus(status) => {
                    connection.parameters.insert(status.name()?.to_string(), status.value()?.to_string());
                }
                Message::ReadyForQuery(_) => return Ok(connection),
                Message::ErrorResponse(body) => {
                    return Err(Failure::Refused(
                        Report::from_fields(body.fields())?.render("").trim_end().to_string(),
                    ));
                }
                Message::NoticeResponse(_) => {}
                Message::AuthenticationCleartextPassword
                | Message::AuthenticationMd5Password(_)
                | Message::AuthenticationSasl(_)
                | Message::AuthenticationGss
                | Message::AuthenticationSspi => {
                    return Err(Failure::Refused(
                        "the server asks for a password, which this shell cannot give".to_string(),
                    ));
                }
                _ => return Err(Failure::Lost("unexpected message at the start of the session".to_string())),
            }
        }
    }

    /// What cancels a statement of this session.
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken { server: self.server.clone(), process_id: self.process_id, secret_key: self.secret_key }
    }

    /// The server's process id of this session.
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Sends a query; [`Connection::next`] has the answers.
    pub async fn query(&mut self, sql: &str) -> Result<(), Failure> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message)?;
        Ok(self.stream.write_all(&message).await?)
    }

    /// The next answer; `None` when the query is over and the session ready for another. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            let event = match self.receive().await? {
                Message::RowDescription(body) => Event::Columns(columns(&body)?),
                Message::DataRow(body) => Event::Row(row(&body)?),
                Message::CommandComplete(body) => Event::Complete(body.tag()?.to_string()),
                Message::EmptyQueryResponse => Event::Empty,
                Message::ErrorResponse(body) => {
                    let report = Report::from_fields(body.fields())?;
                    if matches!(report.field(b'S'), Some("FATAL" | "PANIC")) {
                        return Err(Failure::Lost(report.render("").trim_end().to_string()));
                    }
                    Event::Error(report)
                }
                Message::NoticeResponse(body) => Event::Notice(Report::from_fields(body.fields())?),
                Message::ParameterStatus(status) => {
                    self.parameters.insert(status.name()?.to_string(), status.value()?.to_string());
                    continue;
                }
                Message::CopyInResponse(_) => Event::CopyIn,
                Message::CopyOutResponse(_) => Event::CopyOut,
                Message::CopyData(body) => Event::CopyData(body.into_bytes()),
                Message::CopyDone => continue,
                Message::ReadyForQuery(body) => {
                    self.state = match body.status() {
                        b'T' => TransactionState::InBlock,
                        b'E' => TransactionState::Failed,
                        _ => TransactionState::Idle,
                    };
                    return Ok(None);
                }
                _ => continue,
            };
            return Ok(Some(event));
        }
    }

    /// Looks whether the server has closed the connection or said that it ends it, without waiting. To be asked between queries: what
    /// was not sent yet can then be sent elsewhere without any doubt.
    pub fn check(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.next().now_or_never() {
            event?;
        }
        Ok(())
    }

    /// Sends a piece of COPY data.
    pub async fn copy_data(&mut self, data: &[u8]) -> Result<(), Failure> {
        let mut message = BytesMut::with_capacity(data.len() + 5);
        frontend::CopyData::new(data)?.write(&mut message);
        Ok(self.stream.write_all(&message).await?)
    }

    /// Ends COPY data: well, or with the reason for giving up.
    pub async fn copy_end(&mut self, failure: Option<&str>) -> Result<(), Failure> {
        let mut message = BytesMut::new();
        match failure {
            None => frontend::copy_done(&mut message),
            Some(reason) => frontend::copy_fail(reason, &mut message)?,
        }
        Ok(self.stream.write_all(&message).await?)
    }

    /// Says goodbye. Nobody waits for an answer.
    pub async fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        // The server notices the end of the stream in any case.
        let _ = self.stream.write_all(&message).await;
    }

    /// Reads one message. Safe to drop: what was read stays in the buffer.
    async fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = Message::parse(&mut self.input)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Failure::Lost("the server closed the connection".to_string()));
            }
        }
    }
}

fn columns(body: &RowDescriptionBody) -> std::io::Result<Vec<Column>> {
    body.fields().map(|field| Ok(Column { name: field.name().to_string(), type_oid: field.type_oid() })).collect()
}

fn row(body: &DataRowBody) -> std::io::Result<Row> {
    body.ranges()
        .map(|range| Ok(range.map(|range| String::from_utf8_lossy(&body.buffer()[range]).into_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_several_hosts_gives_servers_in_order() {
        let target: Target = "postgres://ann@h1:5001,h2:5002/bank".parse().expect("a URL");
        assert_eq!(target.servers.iter().map(Server::to_string).collect::<Vec<_>>(), ["h1:5001", "h2:5002"]);
        assert_eq!((target.user.as_str(), target.database.as_str()), ("ann", "bank"));
        assert!(matches!("postgres://".parse::<Target>(), Err(Failure::Usage(_))));
        assert!(matches!("nonsense".parse::<Target>(), Err(Failure::Usage(_))));
    }

    #[test]
    fn the_place_of_an_error_is_shown_in_its_line() {
        assert_eq!(place("select 1,\n  bad x", 13), "LINE 2:   bad x\n          ^\n");
        assert_eq!(place("select", 7), "LINE 1: select\n              ^\n");
        assert_eq!(place("select", 9), "");
        assert_eq!(place("", 0), "");
    }

    #[test]
    fn a_long_line_is_cut_around_the_error() {
        let statement = format!("select {} bad {}", "a,".repeat(80), "b,".repeat(80));
        let position = statement.find("bad").expect("it is there") + 1;
        let text = place(&statement, position);
        let (line, caret) = text.split_once('\n').expect("two lines");
        assert!(line.starts_with("LINE 1: ...") && line.ends_with("..."), "{line}");
        let at = caret.find('^').expect("a caret");
        assert_eq!(&line[at..at + 3], "bad");
    }
}
