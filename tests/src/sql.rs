//! SQL as a careful client sees it: a session that finds another gateway when its own is gone, and outcomes in three kinds.
//!
//! Every attempt to do something ends as *ok*, as *refused* (it certainly had no effect), or as *unknown* (it may have had
//! its effect, now or later). Checkers are only as good as this distinction, so it is made in one place, [`Failure::of`].

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// How long a connection attempt to one gateway may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an attempt did not end with an answer.
#[derive(Debug)]
pub enum Failure {
    /// It had no effect. The SQLSTATE, when the server gave one; 40001 among them.
    Refused(Option<SqlState>, String),
    /// It may have had its effect: 40003, or a connection that broke before the answer.
    Unknown(String),
}

impl Failure {
    /// Judges an error. `may_commit` says whether the statement that failed could have committed something: COMMIT, or any
    /// writing statement outside a block. Inside a block a broken connection is harmless, since nobody can commit it any more.
    pub fn of(error: &tokio_postgres::Error, may_commit: bool) -> Failure {
        let text = match error.as_db_error() {
            Some(db) => {
                let named = db.detail().is_some_and(|detail| detail.starts_with("TT005"));
                let retry = *db.code() == SqlState::T_R_SERIALIZATION_FAILURE;
                assert!(named || !retry, "40001 comes with the operators' number of it: {db:?}");
                format!("{} {}", db.code().code(), db.message())
            }
            None => format!("{error:?}"),
        };
        match error.code() {
            // "Statement completion unknown", and the ends of a session, which can fall between commit and answer.
            Some(code) if *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => Failure::Unknown(text),
            Some(code) if may_commit && (code.code().starts_with("57P") || code.code().starts_with("08")) => {
                Failure::Unknown(text)
            }
            Some(code) => Failure::Refused(Some(code.clone()), text),
            None if may_commit => Failure::Unknown(text),
            None => Failure::Refused(None, text),
        }
    }

    /// Whether the server asked for the transaction to be tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Failure::Refused(Some(code), _) if *code == SqlState::T_R_SERIALIZATION_FAILURE)
    }

    /// The SQLSTATE of a refusal by the server.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Refused(Some(code), _) => Some(code.code()),
            _ => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(_, text) => write!(f, "refused: {text}"),
            Failure::Unknown(text) => write!(f, "unknown: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Where the gateways of a grid are.
#[derive(Clone, Debug)]
pub struct Gateways {
    /// SQL ports on 127.0.0.1.
    pub ports: Vec<u16>,
    /// Database to connect to.
    pub database: String,
}

impl Gateways {
    /// A session that prefers the gateway with this index, and takes the next ones when it is gone.
    pub fn session(&self, preferred: usize) -> Session {
        let mut gateways = self.clone();
        let length = gateways.ports.len();
        gateways.ports.rotate_left(preferred % length);
        Session { gateways, connection: None }
    }

    /// A session that uses the gateway with this index and no other.
    pub fn only(&self, index: usize) -> Session {
        Session {
            gateways: Gateways { ports: vec![self.ports[index]], database: self.database.clone() },
            connection: None,
        }
    }
}

/// A client with one connection at a time, opened when it is needed.
#[derive(Debug)]
pub struct Session {
    gateways: Gateways,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// The connection, made to the first gateway that answers if there is none that works.
    pub async fn client(&mut self) -> Result<&mut Client, Failure> {
        if self.connection.as_ref().is_none_or(|connection| connection.client.is_closed()) {
            self.connection = None;
            self.connection = Some(self.connect().await?);
        }
        Ok(&mut self.connection.as_mut().expect("it was just set").client)
    }

    /// Tries the gateways in turn, once each.
    async fn connect(&self) -> Result<Connection, Failure> {
        let mut reasons = Vec::new();
        for port in &self.gateways.ports {
            let mut config = Config::new();
            config.host("127.0.0.1").port(*port).user("quorate").dbname(&self.gateways.database);
            match tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await {
                Ok(Ok((client, connection))) => {
                    let driver = tokio::spawn(async move {
                        // The error, if any, reaches the client with its next statement.
                        connection.await.ok();
                    });
                    return Ok(Connection { client, driver });
                }
                Ok(Err(error)) => match error.as_db_error() {
                    Some(db) => reasons
                        .push((Some(db.code().clone()), format!("port {port}: {} {}", db.code().code(), db.message()))),
                    None => reasons.push((None, format!("port {port}: {error}"))),
                },
                Err(_) => reasons.push((None, format!("port {port}: no answer in {CONNECT_TIMEOUT:?}"))),
            }
        }
        let code = reasons.iter().find_map(|(code, _)| code.clone());
        Err(Failure::Refused(code, reasons.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>().join("; ")))
    }

    /// Gives the connection up, whatever its state.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Runs one or several statements by the simple protocol, for their effect.
    pub async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        let result = self.client().await?.batch_execute(sql).await;
        result.map_err(|error| Failure::of(&error, true))
    }

    /// Runs one query by the simple protocol and gives its rows as text; NULL is `None`.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let result = self.client().await?.simple_query(sql).await;
        let messages = result.map_err(|error| Failure::of(&error, true))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())
    }

    /// The single value of a query, as text.
    ///
    /// # Panics
    /// When the answer has not exactly one row and column, or is NULL: the test asked a wrong question.
    pub async fn value(&mut self, sql: &str) -> Result<String, Failure> {
        let mut rows = self.rows(sql).await?;
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: expected one value, got {rows:?}");
        Ok(rows.remove(0).remove(0).unwrap_or_else(|| panic!("{sql}: the value is NULL")))
    }

    /// The single value of a query, as a number.
    pub async fn number(&mut self, sql: &str) -> Result<i64, Failure> {
        let value = self.value(sql).await?;
        Ok(value.parse().unwrap_or_else(|_| panic!("{sql}: {value} is no whole number")))
    }

    /// The SQLSTATE with which a statement is refused.
    ///
    /// # Panics
    /// When it succeeds, or ends without a SQLSTATE.
    pub async fn refused(&mut self, sql: &str) -> String {
        match self.batch(sql).await {
            Ok(()) => panic!("{sql}: succeeded"),
            Err(failure) => failure.code().unwrap_or_else(|| panic!("{sql}: {failure}")).to_owned(),
        }
    }
}

/// Repeats an attempt as long as it is refused in a way that asks for it: 40001, or no gateway to be had. Gives the first other
/// outcome, or the last one when `limit` has passed.
pub async fn retried<T, A, F>(limit: Duration, mut attempt: A) -> Result<T, Failure>
where
    A: FnMut() -> F,
    F: Future<Output = Result<T, Failure>>,
{
    let start = std::time::Instant::now();
    loop {
        match attempt().await {
            Err(failure @ Failure::Refused(..)) if start.elapsed() < limit => {
                if !failure.is_retryable()
                    && failure.code().is_some_and(|code| !code.starts_with("57P") && code != "58000")
                {
                    return Err(failure);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}
