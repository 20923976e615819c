//! The network between the instances, in our hands.
//!
//! Each instance is known to the others by the address of a small TCP proxy in front of it, so that every byte between two
//! instances passes here. A *link* is directed: `from → to` carries the bytes that `from` sends to `to`, whichever of the two
//! opened the connection. A link can be cut so that bytes vanish from sight and arrive after healing (as after a
//! retransmission), refused (connections broken and refused), or slowed.
//!
//! All instances dial from 127.0.0.1, so the proxy asks the kernel which instance owns the other end of a connection
//! (`/proc/net/tcp`, then the sockets of the instances' processes). The instances know nothing of all this.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What happens to bytes on a directed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Bytes pass, each this much later than it was sent.
    Open(Duration),
    /// Bytes are held back until the link is opened again; connections stay, as with a pulled cable.
    Silent,
    /// Connections that would use the link are broken, and new ones end at once, as with a stopped machine.
    Refused,
}

/// Data in flight on one direction of one connection, in chunks. Bounds the memory of a silent link.
const CHUNKS_MAX: usize = 256;
/// Bytes of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;

type Links = Arc<Mutex<HashMap<(usize, usize), watch::Sender<Link>>>>;
/// How many connections there are between two instances, by their numbers, the smaller one first.
type Counts = Arc<Mutex<HashMap<(usize, usize), watch::Sender<usize>>>>;
/// Process id of each running instance, so that the owner of a connection can be found.
type Pids = Arc<Mutex<HashMap<usize, u32>>>;

/// The proxies in front of all instances of a grid.
#[derive(Debug)]
pub struct Network {
    links: Links,
    counts: Counts,
    pids: Pids,
    proxies: Vec<JoinHandle<()>>,
}

impl Network {
    /// A network without instances; all links are open.
    pub fn new() -> Network {
        Network { links: Links::default(), counts: Counts::default(), pids: Pids::default(), proxies: Vec::new() }
    }

    /// Puts a proxy that listens at `listen` in front of `instance`, which itself listens at `target`.
    pub async fn add(&mut self, instance: usize, listen: SocketAddr, target: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(listen).await?;
        let (links, counts, pids) = (self.links.clone(), self.counts.clone(), self.pids.clone());
        self.proxies.push(tokio::spawn(async move {
            while let Ok((near, peer)) = listener.accept().await {
                let (links, counts, pids) = (links.clone(), counts.clone(), pids.clone());
                tokio::spawn(async move { connection(near, peer, target, instance, &links, &counts, &pids).await });
            }
        }));
        Ok(())
    }

    /// Says which process is `instance` from now on.
    pub fn set_pid(&self, instance: usize, pid: u32) {
        self.pids.lock().expect("no holder panics").insert(instance, pid);
    }

    /// Sets one direction.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        link_sender(&self.links, from, to).send_replace(link);
    }

    /// Sets both directions between `instance` and each of `others`.
    pub fn set_between(&self, instance: usize, others: impl IntoIterator<Item = usize>, link: Link) {
        for other in others {
            self.set(instance, other, link);
            self.set(other, instance, link);
        }
    }

    /// Refuses both directions between the instances of each pair, and returns when no connection is left between any of them: how many
    /// there were. A link that is opened again before that may keep its connections.
    pub async fn break_all(&self, pairs: &[(usize, usize)]) -> Vec<usize> {
        let senders: Vec<_> = pairs.iter().map(|(one, other)| count_sender(&self.counts, *one, *other)).collect();
        let there = senders.iter().map(|sender| *sender.borrow()).collect();
        for (one, other) in pairs {
            self.set_between(*one, [*other], Link::Refused);
        }
        for sender in &senders {
            // Whoever is refused is counted for a moment too; that passes.
            drop(sender.subscribe().wait_for(|count| *count == 0).await);
        }
        there
    }

    /// Opens everything again.
    pub fn heal(&self) {
        for sender in self.links.lock().expect("no holder panics").values() {
            sender.send_replace(Link::Open(Duration::ZERO));
        }
    }
}

impl Default for Network {
    fn default() -> Network {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.proxies.iter().for_each(JoinHandle::abort);
    }
}

fn link_sender(links: &Links, from: usize, to: usize) -> watch::Sender<Link> {
    let mut links = links.lock().expect("no holder panics");
    links.entry((from, to)).or_insert_with(|| watch::Sender::new(Link::Open(Duration::ZERO))).clone()
}

fn count_sender(counts: &Counts, one: usize, other: usize) -> watch::Sender<usize> {
    let mut counts = counts.lock().expect("no holder panics");
    counts.entry((one.min(other), one.max(other))).or_insert_with(|| watch::Sender::new(0)).clone()
}

/// A connection as long as it is counted.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: watch::Sender<usize>) -> Counted {
        count.send_modify(|count| *count += 1);
        Counted(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Serves one connection until either end or a refused link closes it.
async fn connection(
    near: TcpStream,
    peer: SocketAddr,
    target: SocketAddr,
    to: usize,
    links: &Links,
    counts: &Counts,
    pids: &Pids,
) {
    let candidates = pids.lock().expect("no holder panics").clone();
    // A dialler that is none of our instances (a client of the harness) passes unhindered: it gets a link to itself.
    let from = tokio::task::spawn_blocking(move || owner(peer.port(), &candidates)).await.ok().flatten().unwrap_or(to);
    // Counted before the links are looked at, so that nobody who finds none can have missed one that is let through.
    let _counted = Counted::new(count_sender(counts, from, to));
    let there = link_sender(links, from, to).subscribe();
    let back = link_sender(links, to, from).subscribe();
    if *there.borrow() == Link::Refused || *back.borrow() == Link::Refused {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    // Small messages must not wait for each other here; the instances decide themselves what to batch.
    if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // The first direction that ends takes the other with it: half-open connections are not what is tested here.
    tokio::select! {
        () = pump(near_read, far_write, there) => {}
        () = pump(far_read, near_write, back) => {}
    }
}

/// Carries bytes one way, as the link allows.
async fn pump<R, W>(mut from: R, mut to: W, mut link: watch::Receiver<Link>)
where
    R: AsyncReadExt + Unpin,
    W: AsyncWriteExt + Unpin,
{
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut refused = link.clone();
    let read = async {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if queue.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
        drop(queue);
    };
    let write = async {
        while let Some((sent, bytes)) = queued.recv().await {
            // The delay in force when the bytes are due counts, so that a change acts on bytes under way too.
            loop {
                let now = *link.borrow_and_update();
                match now {
                    Link::Open(delay) if sent + delay <= Instant::now() => break,
                    Link::Open(delay) => tokio::select! {
                        () = tokio::time::sleep_until(sent + delay) => {}
                        changed = link.changed() => if changed.is_err() { return },
                    },
                    Link::Silent | Link::Refused => {
                        if link.changed().await.is_err() {
                            return;
                        }
                    }
                }
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(read, write) } => {}
        () = async { drop(refused.wait_for(|link| *link == Link::Refused).await) } => {}
    }
}

/// The instance whose process has a socket with this local port.
fn owner(port: u16, pids: &HashMap<usize, u32>) -> Option<usize> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| inode_of(&std::fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    pids.iter().find_map(|(instance, pid)| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let owns = open
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy() == wanted));
        owns.then_some(*instance)
    })
}

/// The inode of the connected socket with this local port in the kernel's table.
fn inode_of(table: &str, port: u16) -> Option<String> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let inode = fields.nth(5)?;
        // 01 is ESTABLISHED: a listener on the same port is not the connection.
        (local.ends_with(&suffix) && state == "01").then(|| inode.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes, a proxy in front of it (instance 1), and this process as instance 0.
    async fn echo_behind_proxy() -> (Network, SocketAddr) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    tokio::io::copy(&mut read, &mut write).await.ok();
                });
            }
        });
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut network = Network::new();
        network.add(1, free, target).await.unwrap();
        network.set_pid(0, std::process::id());
        (network, free)
    }

    async fn echoed(stream: &mut TcpStream, within: Duration) -> bool {
        stream.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        matches!(tokio::time::timeout(within, stream.read_exact(&mut buffer)).await, Ok(Ok(_)))
    }

    #[tokio::test]
    async fn a_silent_direction_holds_bytes_back_and_delivers_them_after_healing() {
        let (network, address) = echo_behind_proxy().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
        network.set(1, 0, Link::Silent);
        assert!(!echoed(&mut stream, Duration::from_millis(200)).await, "the answer must not pass");
        network.heal();
        let mut buffer = [0; 5];
        tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer, b"hello");
    }

    #[tokio::test]
    async fn a_delay_is_added_to_each_direction() {
        let (network, address) = echo_behind_proxy().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
        network.set_between(0, [1], Link::Open(Duration::from_millis(150)));
        let start = Instant::now();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
        assert!(start.elapsed() >= Duration::from_millis(300), "there and back take twice the delay");
    }

    #[tokio::test]
    async fn connections_that_are_broken_together_are_counted_and_gone_afterwards() {
        let (network, address) = echo_behind_proxy().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
        for there in [1_usize, 0] {
            let broken = tokio::time::timeout(Duration::from_secs(5), network.break_all(&[(1, 0)])).await.unwrap();
            assert_eq!(broken, [there]);
        }
        // Opened at once, it carries new connections only.
        network.heal();
        let mut buffer = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "the connection has ended");
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_refused_link_breaks_connections_until_it_is_healed() {
        let (network, address) = echo_behind_proxy().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
        network.set(0, 1, Link::Refused);
        let mut buffer = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "the connection ends");
        network.heal();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(echoed(&mut stream, Duration::from_secs(5)).await);
    }
}
