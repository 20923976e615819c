//! The one thread that writes the log: takes all that waits, writes it as one batch with one fsync, then reports in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::EndOnPanic;

/// Most bytes in one write, so that nobody waits behind an endless batch.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// Called once, after the fsync that covers the operation, with its result.
pub(super) type Done = Box<dyn FnOnce(Result<(), io::Error>) + Send>;

/// One step for the writer. Operations are never reordered.
pub(super) struct Operation {
    pub puts: Vec<(Vec<u8>, Bytes)>,
    pub deletes: Vec<Vec<u8>>,
    pub done: Done,
}

impl Operation {
    fn size(&self) -> usize {
        self.puts.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
            + self.deletes.iter().map(Vec::len).sum::<usize>()
    }
}

pub(super) struct Writer {
    queue: Mutex<Option<Sender<Operation>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    syncs: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn start(db: Arc<DB>, before_sync: Option<fn()>) -> Result<Self, io::Error> {
        let (queue, operations) = channel();
        let syncs = Arc::new(AtomicU64::new(0));
        let counter = syncs.clone();
        let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || {
            let _watch = EndOnPanic("the log writer panicked");
            run(&db, &operations, before_sync, &counter);
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), syncs })
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Queues an operation. After the store was closed the operation is refused through its callback.
    pub(super) fn submit(&self, operation: Operation) {
        let queue = self.queue.lock();
        let refused = match queue.as_ref() {
            Some(queue) => queue.send(operation).err().map(|e| e.0),
            None => Some(operation),
        };
        drop(queue);
        if let Some(operation) = refused {
            (operation.done)(Err(io::Error::other("the log is closed")));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        *self.queue.lock() = None;
        if let Some(thread) = self.thread.lock().take() {
            drop(thread.join());
        }
    }
}

fn run(db: &DB, operations: &Receiver<Operation>, before_sync: Option<fn()>, syncs: &AtomicU64) {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    while let Ok(first) = operations.recv() {
        let mut size = first.size();
        let mut waiting = vec![first];
        while size < WRITE_BYTES_MAX {
            match operations.try_recv() {
                Ok(operation) => {
                    size += operation.size();
                    waiting.push(operation);
                }
                Err(_) => break,
            }
        }
        let mut batch = WriteBatch::default();
        for operation in &waiting {
            for key in &operation.deletes {
                batch.delete(key);
            }
            for (key, value) in &operation.puts {
                batch.put(key, value);
            }
        }
        if let Some(hook) = before_sync {
            hook();
        }
        if let Err(error) = db.write_opt(batch, &options) {
            crate::fatal(&format!("write the log: {error}"));
        }
        syncs.fetch_add(1, Ordering::Relaxed);
        for operation in waiting {
            (operation.done)(Ok(()));
        }
    }
}
