//! Ports for the instances of one test.
//!
//! A port asked of the operating system (port 0) is free only until it is given back, and an instance that is killed and
//! restarted must find its port again, while dozens of clients are being given source ports from the very same range. So
//! blocks are taken below that range (Linux hands out 32768 and up), each reserved among the test processes of this
//! machine by a lock on a file, which ends with its process.

use std::fs::File;
use std::net::TcpListener;

/// Ports in one block.
const BLOCK: u16 = 40;
/// The first port of the first block.
const FIRST: u16 = 20_000;
/// The first port that is no longer ours.
const END: u16 = 32_000;

/// A block of ports that no other test uses as long as this value lives.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    next: u16,
    /// Holds the lock.
    _reservation: File,
}

impl Ports {
    /// Reserves a block in which every port can be bound at this moment.
    ///
    /// # Panics
    /// When there is no free block, or the lock files cannot be written.
    pub fn reserve() -> Ports {
        let folder = std::env::temp_dir().join("quorate-test-ports");
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
        // Processes start at different blocks, so that they do not walk over each other's locks.
        let blocks = (END - FIRST) / BLOCK;
        let offset = (std::process::id() % u32::from(blocks)) as u16;
        for step in 0..blocks {
            let first = FIRST + (offset + step) % blocks * BLOCK;
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(format!("{first}.lock")))
                .expect("a lock file can be made");
            if file.try_lock().is_ok()
                && (first..first + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
            {
                return Ports { first, next: first, _reservation: file };
            }
        }
        panic!("no free block of {BLOCK} ports between {FIRST} and {END}");
    }

    /// The next unused port of the block.
    ///
    /// # Panics
    /// When the block is used up.
    pub fn take(&mut self) -> u16 {
        assert!(self.next < self.first + BLOCK, "a test may use {BLOCK} ports");
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_share_no_port() {
        let (mut a, mut b) = (Ports::reserve(), Ports::reserve());
        let mut all: Vec<u16> = (0..BLOCK).flat_map(|_| [a.take(), b.take()]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2 * usize::from(BLOCK));
    }
}
