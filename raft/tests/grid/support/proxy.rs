//! A TCP proxy that cuts, freezes and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// Connections break, and new ones break at once.
    Cut,
    /// Connections stay and take bytes, but nothing comes through.
    Frozen,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    mode: watch::Sender<Mode>,
    /// Requests forwarded, by service.
    requests: [AtomicU64; 256],
    connections: AtomicU64,
    open: AtomicU64,
    /// Cut the connection at this request of this service, counted down.
    cut_at: Mutex<Option<(u8, u64)>>,
}

/// One proxy; its address stays when the target moves.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.mode.send_replace(Mode::Cut);
    }
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            mode: watch::channel(Mode::Open).0,
            requests: [const { AtomicU64::new(0) }; 256],
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            cut_at: Mutex::new(None),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// Where connections lead; without a target they break.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.shared.target.lock() = target;
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Cuts the connection that carries the `count`th request of `service` from now on, instead of that request.
    pub fn cut_at(&self, service: u8, count: u64) {
        *self.shared.cut_at.lock() = Some((service, count));
    }

    /// Whether the cut that was asked for has happened.
    pub fn has_cut(&self) -> bool {
        self.shared.cut_at.lock().is_none()
    }

    pub fn requests(&self, service: u8) -> u64 {
        self.shared.requests[usize::from(service)].load(Ordering::SeqCst)
    }

    /// Connections made in all, and those open now.
    pub fn connections(&self) -> (u64, u64) {
        (self.shared.connections.load(Ordering::SeqCst), self.shared.open.load(Ordering::SeqCst))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((caller, _)) = listener.accept().await {
        let target = *shared.target.lock();
        let Some(target) = target else { continue };
        if *shared.mode.borrow() == Mode::Cut {
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            let Ok(called) = TcpStream::connect(target).await else { return };
            caller.set_nodelay(true).unwrap();
            called.set_nodelay(true).unwrap();
            shared.connections.fetch_add(1, Ordering::SeqCst);
            shared.open.fetch_add(1, Ordering::SeqCst);
            let ((from_caller, to_caller), (from_called, to_called)) = (caller.into_split(), called.into_split());
            let mut mode = shared.mode.subscribe();
            let cut = async move { drop(mode.wait_for(|mode| *mode == Mode::Cut).await) };
            tokio::select! {
                () = forward(from_caller, to_called, &shared, true) => {}
                () = forward(from_called, to_caller, &shared, false) => {}
                () = cut => {}
            }
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, counts: bool) {
    let mut mode = shared.mode.subscribe();
    let mut buffer = vec![0; 64 << 10];
    let mut frames = Frames::default();
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        // Looked at behind the reading, so that nothing that was sent after a change gets through as if before it.
        match mode.wait_for(|mode| *mode != Mode::Frozen).await {
            Ok(now) if *now == Mode::Open => {}
            _ => return,
        }
        if counts && !frames.take(&buffer[..length], |service| shared.count(service)) {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Counts a request; `false` if it is the one at which to cut.
    fn count(&self, service: u8) -> bool {
        self.requests[usize::from(service)].fetch_add(1, Ordering::SeqCst);
        let mut cut_at = self.cut_at.lock();
        if let Some((of, left)) = cut_at.as_mut()
            && *of == service
        {
            *left -= 1;
            if *left == 0 {
                *cut_at = None;
                return false;
            }
        }
        true
    }
}

/// Follows the frames of a connection: a hello of 35 bytes, then frames of length (4), kind (1), service (1) and the rest.
#[derive(Default)]
struct Frames {
    seen: usize,
    head: Vec<u8>,
    /// Bytes of the current frame still to come.
    rest: usize,
}

const HELLO: usize = 35;

impl Frames {
    fn take(&mut self, mut bytes: &[u8], mut request: impl FnMut(u8) -> bool) -> bool {
        let hello = HELLO.saturating_sub(self.seen).min(bytes.len());
        self.seen += hello;
        bytes = &bytes[hello..];
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skip = self.rest.min(bytes.len());
                self.rest -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.len() == 6 {
                let length = u32::from_be_bytes([self.head[0], self.head[1], self.head[2], self.head[3]]);
                let (kind, service) = (self.head[4], self.head[5]);
                self.head.clear();
                self.rest = length as usize - 2;
                if kind == 0 && !request(service) {
                    return false;
                }
            }
        }
        true
    }
}
