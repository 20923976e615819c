//! A gateway on a port from the system over the engine's in-memory database, and a client that speaks bare messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use quorate_gateway::{Config, Databases, Gateway};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::exec::relational::NoEngine;
use quorate_sql::memory::MemoryDatabase;
use quorate_sql::storage::Database;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; only a hanging test reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

struct OneDatabase(Arc<dyn Database>);

impl Databases for OneDatabase {
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, Error> {
        match name {
            "demo" => Ok(self.0.clone()),
            "loading" => Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "database \"loading\" is not open")),
            _ => Err(Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))),
        }
    }
}

/// A running gateway.
pub struct Server {
    pub gateway: Arc<Gateway>,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let gateway =
            Arc::new(Gateway::new(config, Arc::new(OneDatabase(Arc::new(MemoryDatabase::new()))), Arc::new(NoEngine)));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(gateway.clone().serve(listener, shutdown.clone()));
        Server { gateway, address, shutdown, task }
    }

    pub fn url(&self) -> String {
        format!("postgres://tester@{}/demo", self.address)
    }

    /// A driver's connection.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.expect("connects");
        tokio::spawn(connection);
        client
    }

    /// A session spoken by hand, greeting already read.
    pub async fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self.address).await;
        raw.start(&[("user", "tester"), ("database", "demo")]).await;
        raw.until_ready().await;
        raw
    }

    /// Stops the gateway as a stopping instance does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("stops in time").expect("does not panic");
    }

    /// Waits until the gateway has `count` sessions.
    pub async fn sessions(&self, count: usize) {
        let reached = async {
            while self.gateway.connection_count() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the number of sessions is reached");
    }

    /// Waits until one of the sessions runs a statement.
    pub async fn busy(&self) {
        let reached = async {
            while !self.gateway.connections().iter().any(|connection| connection.busy) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("a statement runs");
    }
}

/// One message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, letter: char) -> Option<String> {
        assert!(matches!(self.kind, 'E' | 'N'), "{self:?}");
        self.body
            .split(|&byte| byte == 0)
            .find(|field| field.first() == Some(&(letter as u8)))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.kind, 'D');
        let mut body = &self.body[..];
        (0..body.get_u16())
            .map(|_| {
                let length = body.get_i32();
                (length >= 0).then(|| body.copy_to_bytes(length as usize).to_vec())
            })
            .collect()
    }

    /// The text of a message that is one string.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\0').to_string()
    }
}

/// The letters of some answers, in order.
pub fn kinds(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.kind).collect()
}

/// A client that sends what it likes.
pub struct Raw {
    pub stream: TcpStream,
    input: BytesMut,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.expect("connects"), input: BytesMut::new() }
    }

    pub async fn start(&mut self, parameters: &[(&str, &str)]) {
        let mut body = BytesMut::new();
        body.put_u32(3 << 16);
        for (name, value) in parameters {
            body.put_slice(name.as_bytes());
            body.put_u8(0);
            body.put_slice(value.as_bytes());
            body.put_u8(0);
        }
        body.put_u8(0);
        let mut packet = BytesMut::new();
        packet.put_u32(body.len() as u32 + 4);
        packet.put_slice(&body);
        self.send(&packet).await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next message; `None` when the server has closed.
    pub async fn next(&mut self) -> Option<Answer> {
        let read = async {
            loop {
                if self.input.len() >= 5 {
                    let length = u32::from_be_bytes(self.input[1..5].try_into().expect("four bytes")) as usize;
                    if self.input.len() > length {
                        let message = self.input.split_to(length + 1);
                        return Some(Answer { kind: message[0] as char, body: message[5..].to_vec() });
                    }
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server answers")
    }

    /// All messages up to and including ReadyForQuery, or to the end of the stream.
    pub async fn until_ready(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            let ready = answer.kind == 'Z';
            answers.push(answer);
            if ready {
                break;
            }
        }
        answers
    }
}

/// A message of a client.
pub fn message(kind: char, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind as u8];
    message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    message('Q', format!("{sql}\0").as_bytes())
}

/// Parse without parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message('P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// Bind with text parameters and text results.
pub fn bind(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        body.extend_from_slice(parameter.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    message('B', &body)
}

/// Execute.
pub fn execute(portal: &str, rows: i32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&rows.to_be_bytes());
    message('E', &body)
}

/// Describe a portal.
pub fn describe_portal(portal: &str) -> Vec<u8> {
    message('D', format!("P{portal}\0").as_bytes())
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message('S', b"")
}
