//! Connections between instances: identity, order, silence, and what a failed call says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use quorate_raft::peers::{
    CallError, Class, Identity, MESSAGE_BYTES_MAX, PREFACE, Peers, SILENCE_MAX, Service, WIRE_VERSION,
};
use quorate_raft::{FIRST_FREE_SERVICE, InstanceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{Grid, Mode, Proxy, until};

const NOTE: u8 = FIRST_FREE_SERVICE;
const SILENT: u8 = FIRST_FREE_SERVICE + 1;
const OPEN: u8 = FIRST_FREE_SERVICE + 2;

const GRID: Uuid = Uuid::from_u128(0xabcd);

/// Notes what arrives, and answers with it. Numbers that are divisible by three take a while.
#[derive(Default)]
struct Notes {
    arrived: Mutex<Vec<u64>>,
}

impl Service for Notes {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let number = u64::from_be_bytes(message[..].try_into().expect("a number"));
        self.arrived.lock().push(number);
        Box::pin(async move {
            if number % 3 == 0 {
                tokio::task::yield_now().await;
            }
            match number % 1000 {
                999 => Err(format!("{number} is refused")),
                _ => Ok(message),
            }
        })
    }
}

struct Never;

impl Service for Never {
    fn call(&self, _from: Identity, _message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(std::future::pending())
    }
}

struct ForAll;

impl Service for ForAll {
    fn call(&self, from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(Bytes::from([&from.instance.to_be_bytes()[..], &message].concat())) })
    }

    fn open_to_strangers(&self) -> bool {
        true
    }
}

fn identity(instance: InstanceId) -> Identity {
    Identity { grid: GRID, instance, incarnation: 1 }
}

/// Serves an instance on an address of its own.
async fn serve(identity: Identity) -> (Peers, Arc<Notes>, std::net::SocketAddr) {
    let peers = Peers::new(identity);
    let notes = Arc::new(Notes::default());
    peers.register(NOTE, notes.clone());
    peers.register(SILENT, Arc::new(Never));
    peers.register(OPEN, Arc::new(ForAll));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = peers.clone();
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let peers = accepting.clone();
            tokio::spawn(async move { peers.accept(stream, from).await });
        }
    });
    (peers, notes, address)
}

fn number(number: u64) -> Bytes {
    Bytes::from(number.to_be_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_arrive_in_order_and_answers_find_their_callers() {
    let (_called, notes, address) = serve(identity(2)).await;
    let caller = Peers::new(identity(1));
    caller.set_address(2, &address.to_string());
    let count = 20_000;
    let calls: Vec<_> = (0..count).map(|n| caller.send(2, Class::Consensus, NOTE, number(n))).collect();
    for (n, answer) in (0..count).zip(join_all(calls).await) {
        match n % 1000 {
            999 => assert_eq!(answer, Err(CallError::Refused { to: 2, message: format!("{n} is refused") })),
            _ => assert_eq!(answer, Ok(number(n))),
        }
    }
    assert_eq!(*notes.arrived.lock(), (0..count).collect::<Vec<u64>>());
    let answer = caller.call(2, Class::Bulk, 99, Bytes::new()).await;
    assert!(answer.unwrap_err().to_string().contains("there is no service 99 here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pair_has_two_connections_in_each_direction() {
    let grid = Grid::with_sets(2).await;
    grid.propose(crate::support::SET, 1).await;
    for from in 1..=3 {
        for to in (1..=3).filter(|to| *to != from) {
            for class in [Class::Consensus, Class::Bulk] {
                let calls = (0..50).map(|_| grid.running(from).peers.send(to, class, 200, Bytes::new()));
                for answer in join_all(calls.collect::<Vec<_>>()).await {
                    assert!(matches!(answer, Err(CallError::Refused { .. })), "{answer:?}");
                }
            }
        }
    }
    for (pair, link) in &grid.links {
        assert_eq!(link.connections(), (2, 2), "{pair:?}");
    }
    for instance in 1..=3 {
        let incoming = grid.running(instance).peers.incoming().borrow().clone();
        let expected = (1..=3).filter(|i| *i != instance).map(|i| (i, 2)).collect();
        assert_eq!(incoming, expected);
    }
    grid.stop().await;
}

/// Says hello byte by byte as an instance of some other program would, and returns the refusal.
async fn hello(address: std::net::SocketAddr, version: u16, grid: Uuid, to: InstanceId) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut out = PREFACE.to_vec();
    out.extend(version.to_be_bytes());
    out.push(0);
    out.extend(grid.as_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend(to.to_be_bytes());
    stream.write_all(&out).await.unwrap();
    assert_eq!(stream.read_u16().await.unwrap(), WIRE_VERSION, "the answer tells the version");
    let mut text = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strangers_are_refused_by_name() {
    let (called, _notes, address) = serve(identity(2)).await;
    let other = Uuid::from_u128(0x1234);
    assert_eq!(hello(address, WIRE_VERSION, GRID, 2).await, "");
    let refusal = hello(address, WIRE_VERSION, other, 2).await;
    assert_eq!(refusal, format!("this instance belongs to grid {GRID}, not to {other}"));
    assert_eq!(hello(address, WIRE_VERSION, GRID, 7).await, "this is instance 2, not instance 7");
    assert_eq!(hello(address, 9, GRID, 2).await, format!("this instance speaks wire version {WIRE_VERSION}, not 9"));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0, "whoever speaks something else gets no answer");

    // The same through the calling side: the reason reaches whoever calls.
    for (caller, to, reason) in [
        (Identity { grid: other, ..identity(1) }, 2, "belongs to grid"),
        (identity(1), 7, "this is instance 2, not instance 7"),
    ] {
        let caller = Peers::new(caller);
        caller.set_address(to, &address.to_string());
        let answer = caller.call(to, Class::Bulk, NOTE, number(1)).await;
        assert!(matches!(&answer, Err(CallError::NotSent { reason: r, .. }) if r.contains(reason)), "{answer:?}");
        assert_eq!(caller.unreachable(to), Some(true));
        caller.shut_down().await;
    }
    assert!(called.incoming().borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_the_grid_exists_only_open_services_answer() {
    let (called, _notes, address) = serve(Identity { grid: Uuid::nil(), instance: 0, incarnation: 0 }).await;
    let stranger = Peers::new(Identity { grid: Uuid::nil(), instance: 0, incarnation: 0 });
    let address = address.to_string();
    let answer = stranger.call_address(&address, OPEN, Bytes::from_static(b"hi")).await.unwrap();
    assert_eq!(answer, &b"\0\0\0\0hi"[..]);
    let error = stranger.call_address(&address, NOTE, number(1)).await.unwrap_err();
    assert!(error.to_string().contains("is for members of the grid"), "{error}");
    let member = Peers::new(identity(1));
    member.set_address(2, &address);
    let error = member.call(2, Class::Bulk, OPEN, Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("does not belong to a grid yet"), "{error}");
    // Once it has joined, members reach it, and strangers no more than before.
    called.set_identity(identity(2));
    until("it answers members", || member.unreachable(2) == Some(false)).await;
    member.call(2, Class::Bulk, NOTE, number(1)).await.unwrap();
    assert!(stranger.call_address(&address, NOTE, number(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hung_peer_is_noticed_and_stalls_nobody_else() {
    let (hung, _, hung_address) = serve(identity(2)).await;
    let (_well, _, well_address) = serve(identity(3)).await;
    let proxy = Proxy::start().await;
    proxy.lead_to(Some(hung_address));
    let caller = Peers::new(identity(1));
    caller.set_address(2, &proxy.address);
    caller.set_address(3, &well_address.to_string());
    caller.call(2, Class::Consensus, NOTE, number(1)).await.unwrap();
    until("it is counted", || hung.incoming().borrow().get(&1) == Some(&1)).await;
    // A peer may take its time to answer, as long as it is there.
    let slow = caller.send(2, Class::Consensus, SILENT, Bytes::new());
    let waited = tokio::time::timeout(SILENCE_MAX + Duration::from_secs(1), slow).await;
    assert!(waited.is_err(), "no answer, but the connection lives");

    proxy.set(Mode::Frozen);
    let began = Instant::now();
    let call = tokio::spawn(caller.send(2, Class::Consensus, NOTE, number(2)));
    let mut slowest = Duration::ZERO;
    while !call.is_finished() {
        let asked = Instant::now();
        caller.call(3, Class::Consensus, NOTE, number(4)).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        assert!(began.elapsed() < 3 * SILENCE_MAX, "the hung peer is not noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = call.await.unwrap();
    // Both sides look for silence, and whichever notices first ends the connection.
    assert!(matches!(&answer, Err(CallError::Lost { to: 2, .. })), "{answer:?}");
    assert!(began.elapsed() > SILENCE_MAX - Duration::from_secs(1), "it was given time");
    assert!(slowest < Duration::from_millis(500), "the other peer answered within {slowest:?}");
    assert_eq!(caller.unreachable(2), Some(true));
    assert!(matches!(caller.call(2, Class::Consensus, NOTE, number(5)).await, Err(CallError::NotSent { .. })));
    // The hung one's side does not count on a connection that says nothing any more either.
    until("the called side notices", || hung.incoming().borrow().is_empty()).await;
    proxy.set(Mode::Open);
    until("it is back", || caller.unreachable(2) == Some(false)).await;
    caller.call(2, Class::Consensus, NOTE, number(7)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_accepts_and_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = Peers::new(identity(1));
    caller.set_address(2, &listener.local_addr().unwrap().to_string());
    let answer = tokio::time::timeout(SILENCE_MAX, caller.call(2, Class::Consensus, NOTE, number(1))).await;
    assert!(matches!(answer, Ok(Err(CallError::NotSent { .. }))), "{answer:?}");
    assert!(matches!(caller.call(9, Class::Bulk, NOTE, number(1)).await, Err(CallError::NotSent { to: 9, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_was_not_sent_never_arrives() {
    let (_called, notes, address) = serve(identity(2)).await;
    let proxy = Proxy::start().await;
    proxy.lead_to(Some(address));
    let caller = Peers::new(identity(1));
    caller.set_address(2, &proxy.address);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..4u64)
        .map(|lane| {
            let (caller, stop) = (caller.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut n, mut not_sent, mut answered) = (lane << 32, Vec::new(), Vec::new());
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let calls: Vec<_> =
                        (n..n + 20).map(|n| (n, caller.send(2, Class::Consensus, NOTE, number(n)))).collect();
                    n += 20;
                    for (n, call) in calls {
                        match call.await {
                            Err(CallError::NotSent { .. }) => not_sent.push(n),
                            Ok(_) => answered.push(n),
                            Err(_) => {}
                        }
                    }
                    tokio::task::yield_now().await;
                }
                (not_sent, answered)
            })
        })
        .collect();
    let mut cuts = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        until("the connection is up", || proxy.connections().1 > 0).await;
        proxy.set(Mode::Cut);
        cuts += 1;
        until("the connection is down", || caller.unreachable(2) == Some(true)).await;
        proxy.set(Mode::Open);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    proxy.set(Mode::Open);
    let (mut not_sent, mut answered) = (0, 0);
    let ends = join_all(callers).await;
    let arrived = notes.arrived.lock().clone();
    let known: HashSet<u64> = arrived.iter().copied().collect();
    assert_eq!(known.len(), arrived.len(), "nothing arrives twice");
    for end in ends {
        let (none, some) = end.unwrap();
        assert!(none.iter().all(|n| !known.contains(n)), "what was not sent did not arrive");
        assert!(some.iter().all(|n| known.contains(n)));
        not_sent += none.len();
        answered += some.len();
    }
    assert!(cuts > 5 && not_sent > 100 && answered > 100, "{cuts} cuts, {not_sent} not sent, {answered} answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_end_with_the_connection_and_with_the_instance() {
    let (called, _, address) = serve(identity(2)).await;
    let caller = Peers::new(identity(1));
    caller.set_address(2, &address.to_string());
    let waiting: Vec<_> = (0..10).map(|_| caller.send(2, Class::Bulk, SILENT, Bytes::new())).collect();
    caller.call(2, Class::Bulk, NOTE, number(1)).await.unwrap();
    called.shut_down().await;
    for call in join_all(waiting).await {
        assert!(matches!(call, Err(CallError::Lost { to: 2, .. })), "{call:?}");
    }
    let (_other, _, address) = serve(identity(2)).await;
    caller.set_address(2, &address.to_string());
    caller.call(2, Class::Bulk, NOTE, number(2)).await.expect("another address is another connection");
    let waiting = caller.send(2, Class::Bulk, SILENT, Bytes::new());
    caller.shut_down().await;
    assert!(matches!(waiting.await, Err(CallError::Lost { .. })));
    assert!(matches!(caller.call(2, Class::Bulk, NOTE, number(3)).await, Err(CallError::NotSent { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_have_a_limit() {
    let (_called, _, address) = serve(identity(2)).await;
    let caller = Peers::new(identity(1));
    caller.set_address(2, &address.to_string());
    let largest = Bytes::from(vec![3; MESSAGE_BYTES_MAX]);
    let answer = caller.call(2, Class::Bulk, OPEN, largest.slice(4..)).await.unwrap();
    assert_eq!(answer.len(), MESSAGE_BYTES_MAX);
    let answer = caller.call(2, Class::Bulk, OPEN, largest.clone()).await;
    assert!(
        matches!(answer, Err(CallError::Refused { .. })),
        "an answer above the limit is an error, not a broken connection"
    );
    let answer = caller.call(2, Class::Bulk, OPEN, Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1])).await;
    assert!(matches!(answer, Err(CallError::NotSent { .. })));
}
