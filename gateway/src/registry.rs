//! The sessions of a gateway: who is there, how to cancel a statement, and how to end a session from outside.
//!
//! A [`Member`] is shared between its session and the gateway. The session polls [`Member::poll_ending`] wherever it waits for its client; while a statement
//! runs, ending it also cancels the statement. An entry lives exactly as long as its [`Ticket`].

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::session::{CancelHandle, Session, TransactionStatus};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Why the gateway ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The instance stops.
    Shutdown,
    /// An operator disconnects the database's sessions, or unloads it.
    Disconnected,
    /// An operator ends its transaction.
    TransactionEnded,
}

impl Ending {
    /// What the client is told.
    pub fn error(self) -> Error {
        let error = Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command");
        match self {
            Ending::Shutdown => {
                error.with_detail("The instance is shutting down.").with_hint("Connect to another instance.")
            }
            Ending::Disconnected => error.with_detail("The database's sessions were disconnected."),
            Ending::TransactionEnded => error.with_detail("An operator rolled its transaction back."),
        }
    }
}

/// A session, for status displays.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Number of the session, as in `pg_backend_pid()`.
    pub process_id: i32,
    /// The user it named.
    pub user: String,
    /// Its database.
    pub database: String,
    /// Its `application_name`, as last set.
    pub application_name: String,
    /// The client's address.
    pub client: SocketAddr,
    /// When it began.
    pub since: SystemTime,
    /// A statement is running.
    pub busy: bool,
    /// The transaction it is in: a block, or what began with its client's newest message.
    pub transaction: Option<TransactionInfo>,
    /// It ends as soon as its transaction does.
    pub leaving: bool,
}

/// A transaction of a session, for status displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionInfo {
    /// Counts the session's transactions, from 1.
    pub number: u64,
    /// As `txid_current()` gives it; 0 as long as it has none.
    pub id: u64,
    /// When its first message came.
    pub since: SystemTime,
    /// It failed: it is to be rolled back, as a whole or to a savepoint.
    pub failed: bool,
}

/// Where a session stands between two ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// In no transaction.
    Idle = 0,
    /// A message came that may have begun one, and ReadyForQuery has not been said since.
    Begun = 1,
    /// In a block.
    Block = 2,
    /// In a block that failed.
    Failed = 3,
}

/// What can be asked of a session from other threads.
struct Handles {
    cancel: CancelHandle,
    transaction_id: Arc<AtomicU64>,
}

/// What a session and its gateway share.
pub struct Member {
    /// 0: goes on; else 1 + [`Ending`].
    ending: AtomicU8,
    waker: AtomicWaker,
    /// Odd while the session works, even while it waits for its client.
    turn: AtomicU64,
    /// Set once the session exists.
    session: Mutex<Option<Handles>>,
    application_name: Mutex<String>,
    /// A [`Stand`]. Only the session changes it.
    stand: AtomicU8,
    /// Transactions so far, and when the newest began, in microseconds since 1970-01-01 UTC.
    transactions: AtomicU64,
    began: AtomicU64,
    /// End it once it is in no transaction.
    leaving: AtomicBool,
}

impl Member {
    fn new(application_name: String) -> Member {
        // A session starts working: with its startup message.
        Member {
            ending: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            turn: AtomicU64::new(1),
            session: Mutex::new(None),
            application_name: Mutex::new(application_name),
            stand: AtomicU8::new(Stand::Idle as u8),
            transactions: AtomicU64::new(0),
            began: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// A message came that may begin a transaction.
    pub fn message(&self) {
        if self.stand.load(Ordering::Relaxed) == Stand::Idle as u8 {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.began.store(u64::try_from(since.as_micros()).unwrap_or(0), Ordering::Relaxed);
            self.transactions.fetch_add(1, Ordering::Relaxed);
            self.stand.store(Stand::Begun as u8, Ordering::SeqCst);
        }
    }

    /// Follows what the client is told with ReadyForQuery. When it has to leave after its transaction, this ends it.
    pub fn set_status(&self, status: TransactionStatus) {
        let stand = match status {
            TransactionStatus::Idle => Stand::Idle,
            TransactionStatus::InBlock => Stand::Block,
            TransactionStatus::Failed => Stand::Failed,
        };
        // Both orders are total: either this sees that it is to leave, or the one who asks sees that it is in no transaction.
        self.stand.store(stand as u8, Ordering::SeqCst);
        if stand == Stand::Idle && self.leaving.load(Ordering::SeqCst) {
            self.end(Ending::Disconnected);
        }
    }

    fn transaction(&self) -> Option<TransactionInfo> {
        let stand = self.stand.load(Ordering::SeqCst);
        let began = Duration::from_micros(self.began.load(Ordering::Relaxed));
        (stand != Stand::Idle as u8).then(|| TransactionInfo {
            number: self.transactions.load(Ordering::Relaxed),
            id: self.session.lock().as_ref().map_or(0, |session| session.transaction_id.load(Ordering::Relaxed)),
            since: SystemTime::UNIX_EPOCH + began,
            failed: stand == Stand::Failed as u8,
        })
    }

    /// Ends the session with its transaction; one that is in none goes on.
    fn leave(&self) -> bool {
        self.leaving.store(true, Ordering::SeqCst);
        let leaves = self.stand.load(Ordering::SeqCst) != Stand::Idle as u8;
        if !leaves {
            self.leaving.store(false, Ordering::SeqCst);
        }
        leaves
    }

    fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Ending::Shutdown),
            2 => Some(Ending::Disconnected),
            _ => Some(Ending::TransactionEnded),
        }
    }

    /// Ready when the session has to end.
    pub fn poll_ending(&self, context: &Context<'_>) -> Poll<Ending> {
        // Register before looking, else an end between the two would be lost.
        self.waker.register(context.waker());
        self.ending().map_or(Poll::Pending, Poll::Ready)
    }

    /// The reason if the session has to end.
    pub fn check(&self) -> Result<(), Ending> {
        self.ending().map_or(Ok(()), Err)
    }

    /// Follows a change of the session's setting.
    pub fn set_application_name(&self, name: &str) {
        name.clone_into(&mut self.application_name.lock());
    }

    /// Makes the session's statements cancellable, and its transactions visible.
    pub fn set_session(&self, session: &Session) {
        let handles = Handles { cancel: session.cancellation(), transaction_id: session.transaction_id() };
        *self.session.lock() = Some(handles);
    }

    fn cancel(&self) {
        if let Some(session) = self.session.lock().as_ref() {
            session.cancel.cancel();
        }
    }

    fn end(&self, ending: Ending) {
        let value = match ending {
            Ending::Shutdown => 1,
            Ending::Disconnected => 2,
            Ending::TransactionEnded => 3,
        };
        // The first reason stays.
        let _ = self.ending.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed);
        self.waker.wake();
        self.cancel();
    }

    /// The session waits for its client.
    pub fn idle(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        debug_assert!(!self.is_busy());
    }

    /// The session works.
    pub fn busy(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        debug_assert!(self.is_busy());
    }

    fn is_busy(&self) -> bool {
        self.turn.load(Ordering::Relaxed) % 2 == 1
    }
}

struct Entry {
    member: Arc<Member>,
    stream: Arc<TcpStream>,
    secret: i32,
    /// `turn` at the last look of the watch.
    turn_seen: u64,
    /// All but what the member knows better.
    info: ConnectionInfo,
}

impl Entry {
    fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            busy: self.member.is_busy(),
            application_name: self.member.application_name.lock().clone(),
            transaction: self.member.transaction(),
            leaving: self.member.leaving.load(Ordering::SeqCst),
            ..self.info.clone()
        }
    }
}

#[derive(Default)]
struct Table {
    entries: HashMap<i32, Entry>,
    last_process_id: i32,
    closed: bool,
}

/// All sessions.
#[derive(Default)]
pub struct Registry {
    table: Mutex<Table>,
    /// Told whenever a session has left.
    left: Notify,
}

/// A session's place in the registry, given back when dropped.
pub struct Ticket {
    registry: Arc<Registry>,
    /// The session's number.
    pub process_id: i32,
    /// What proves the right to cancel its statements.
    pub secret: i32,
    /// What it shares with the gateway.
    pub member: Arc<Member>,
}

impl std::fmt::Debug for Ticket {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.table.lock().entries.remove(&self.process_id);
        self.registry.left.notify_waiters();
    }
}

/// Who wants in.
pub struct Applicant {
    /// User.
    pub user: String,
    /// Database.
    pub database: String,
    /// `application_name`.
    pub application_name: String,
    /// Address.
    pub client: SocketAddr,
}

impl Registry {
    /// Takes a session in, or refuses with 53300 or 57P03.
    pub fn enter(
        self: &Arc<Self>,
        applicant: Applicant,
        stream: &Arc<TcpStream>,
        connections_max: usize,
    ) -> Result<Ticket, Error> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "the instance is shutting down"));
        }
        if table.entries.len() >= connections_max {
            return Err(Error::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                .with_detail(format!("This instance takes at most {connections_max} sessions (max_connections)."))
                .with_hint("Connect to another instance, or end sessions that are not needed."));
        }
        let process_id = loop {
            table.last_process_id = table.last_process_id.checked_add(1).unwrap_or(1);
            if !table.entries.contains_key(&table.last_process_id) {
                break table.last_process_id;
            }
        };
        let (secret, member) = (rand::random(), Arc::new(Member::new(applicant.application_name)));
        let info = ConnectionInfo {
            process_id,
            user: applicant.user,
            database: applicant.database,
            application_name: String::new(),
            client: applicant.client,
            since: SystemTime::now(),
            busy: false,
            transaction: None,
            leaving: false,
        };
        let entry = Entry { member: member.clone(), stream: stream.clone(), secret, turn_seen: 0, info };
        table.entries.insert(process_id, entry);
        Ok(Ticket { registry: self.clone(), process_id, secret, member })
    }

    /// Cancels the statement of the session with this number, if the secret is right. Says nothing either way, as the protocol wants.
    pub fn cancel(&self, process_id: i32, secret: i32) {
        let member = self
            .table
            .lock()
            .entries
            .get(&process_id)
            .filter(|entry| entry.secret == secret)
            .map(|entry| entry.member.clone());
        match member {
            Some(member) => member.cancel(),
            None => tracing::debug!(process_id, "cancel request for an unknown session or with a wrong key"),
        }
    }

    /// All sessions.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let table = self.table.lock();
        let mut list: Vec<_> = table.entries.values().map(Entry::info).collect();
        list.sort_by_key(|info| info.process_id);
        list
    }

    /// Ends the sessions that `choose` picks and cuts their connections, for clients that take nothing any more. Returns how many.
    pub fn cut(&self, choose: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let count = self.end(Ending::Disconnected, &choose);
        for entry in self.table.lock().entries.values().filter(|entry| choose(&entry.info())) {
            if let Err(error) = SockRef::from(&*entry.stream).shutdown(Shutdown::Both) {
                tracing::debug!(process_id = entry.info.process_id, %error, "cut connection");
            }
        }
        count
    }

    /// Ends the sessions that `choose` picks once their transactions have ended; those in none go on. Returns how many it concerns.
    pub fn end_after_transactions(&self, choose: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let table = self.table.lock();
        table.entries.values().filter(|entry| choose(&entry.info)).filter(|entry| entry.member.leave()).count()
    }

    /// Number of sessions.
    pub fn count(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Ends the sessions that `choose` picks; returns how many.
    pub fn end(&self, ending: Ending, choose: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let members: Vec<_> = self
            .table
            .lock()
            .entries
            .values()
            .filter(|entry| choose(&entry.info()))
            .map(|entry| entry.member.clone())
            .collect();
        members.iter().for_each(|member| member.end(ending));
        members.len()
    }

    /// Refuses sessions from now on and ends those there are.
    pub fn close(&self) -> usize {
        self.table.lock().closed = true;
        self.end(Ending::Shutdown, |_| true)
    }

    /// Waits until no session is left that `choose` picks.
    pub async fn wait_until_gone(&self, choose: impl Fn(&ConnectionInfo) -> bool) {
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            // Enable before looking, else a departure between the two would be missed.
            left.as_mut().enable();
            if !self.table.lock().entries.values().any(|entry| choose(&entry.info())) {
                return;
            }
            left.await;
        }
    }

    /// Cancels statements whose clients have closed their connection. Looks only at sessions that have worked since the last look, so that
    /// short statements cost nothing; no system call is made.
    pub fn cancel_abandoned(&self) {
        let mut table = self.table.lock();
        for entry in table.entries.values_mut() {
            let turn = entry.member.turn.load(Ordering::Relaxed);
            let unchanged = std::mem::replace(&mut entry.turn_seen, turn) == turn;
            if !unchanged || turn % 2 == 0 {
                continue;
            }
            if let Some(Ok(ready)) = entry.stream.ready(Interest::READABLE).now_or_never()
                && ready.is_read_closed()
            {
                tracing::debug!(process_id = entry.info.process_id, "client has left, its statement is cancelled");
                entry.member.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stream() -> (Arc<TcpStream>, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        (Arc::new(listener.accept().await.expect("accepts").0), client)
    }

    fn applicant(database: &str) -> Applicant {
        Applicant {
            user: "ann".into(),
            database: database.into(),
            application_name: String::new(),
            client: SocketAddr::from(([127, 0, 0, 1], 1)),
        }
    }

    #[tokio::test]
    async fn the_limit_holds_and_a_dropped_ticket_makes_room() {
        let registry = Arc::new(Registry::default());
        let (stream, _client) = stream().await;
        let first = registry.enter(applicant("a"), &stream, 1).expect("room for one");
        let refused = registry.enter(applicant("a"), &stream, 1).expect_err("no room");
        assert_eq!(refused.code, SqlState::TOO_MANY_CONNECTIONS);
        drop(first);
        assert!(registry.enter(applicant("a"), &stream, 1).is_ok());
    }

    #[tokio::test]
    async fn a_session_leaves_with_its_transaction_and_idle_ones_stay() {
        let registry = Arc::new(Registry::default());
        let (stream, _client) = stream().await;
        let idle = registry.enter(applicant("a"), &stream, 9).expect("room");
        idle.member.idle();
        let working = registry.enter(applicant("a"), &stream, 9).expect("room");
        working.member.message();
        working.member.set_status(TransactionStatus::InBlock);
        working.member.idle();
        let of = |ticket: &Ticket| {
            let info = registry.connections().into_iter().find(|info| info.process_id == ticket.process_id);
            info.expect("it is there").transaction.map(|transaction| (transaction.number, transaction.failed))
        };
        assert_eq!((of(&idle), of(&working)), (None, Some((1, false))));
        assert_eq!(registry.end_after_transactions(|info| info.database == "a"), 1);
        working.member.set_status(TransactionStatus::Failed);
        assert_eq!((of(&working), working.member.check()), (Some((1, true)), Ok(())), "its transaction is not over");
        working.member.set_status(TransactionStatus::Idle);
        assert_eq!(working.member.check(), Err(Ending::Disconnected));
        idle.member.set_status(TransactionStatus::Idle);
        assert_eq!(idle.member.check(), Ok(()));
    }

    #[tokio::test]
    async fn ending_a_databases_sessions_leaves_the_others() {
        let registry = Arc::new(Registry::default());
        let (stream, _client) = stream().await;
        let one = registry.enter(applicant("a"), &stream, 9).expect("room");
        let other = registry.enter(applicant("b"), &stream, 9).expect("room");
        assert_eq!(registry.end(Ending::Disconnected, |info| info.database == "a"), 1);
        assert_eq!(one.member.check(), Err(Ending::Disconnected));
        assert_eq!(other.member.check(), Ok(()));
        drop(one);
        registry.wait_until_gone(|info| info.database == "a").await;
        assert_eq!(registry.connections().len(), 1);
        // Nobody enters a closed registry.
        assert_eq!(registry.close(), 1);
        assert!(registry.enter(applicant("b"), &stream, 9).is_err());
    }
}
