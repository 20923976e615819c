//! The data directory of an instance and what it says about itself.
//!
//! `LOCK` is held by the running process, so that two never share a directory. `identity` (JSON) says who the instance is; it is replaced
//! atomically and flushed before anything relies on it. `log/` is the shared Raft log, `management/` the state of the management group,
//! `elements/N/` the store of element N, `orders` what management wanted last.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs2::FileExt as _;
use quorate_management::InstanceSpec;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FORMAT: u32 = 1;

/// What `identity` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    /// Made with the directory.
    pub identity: Uuid,
    /// How often the instance was started; the number of its current start.
    pub incarnation: u32,
    /// Its place in a grid, once it has one.
    pub grid: Option<Membership>,
    /// What it told its grid of itself when it became a part of it.
    #[serde(default)]
    pub spec: Option<InstanceSpec>,
    /// The log was made: if it is not there, it is lost, and with it votes and entries that others count on.
    #[serde(default)]
    pub logs: bool,
}

/// An instance's place in its grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The grid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Copies of every row.
    pub k: u32,
    /// Number of this instance.
    pub instance: u32,
    /// The instances with which the grid was founded, numbered from 1 in this order; those with the management role found its group.
    pub founders: Vec<InstanceSpec>,
}

/// The directory, locked for this process.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Refuses a path that is not for an instance's data: a file, or a directory with other things in it. Changes nothing.
    pub fn check(path: &Path) -> anyhow::Result<()> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("read the data directory {}", path.display())),
        };
        let mut strange = None;
        for entry in entries {
            let name = entry.with_context(|| format!("read the data directory {}", path.display()))?.file_name();
            // A log without an identity is half a data directory, and opening it says so.
            if name == "identity" || name == "log" && path.join("log/CURRENT").exists() {
                return Ok(());
            }
            // What a start that was cut off leaves, and what a file system of its own has.
            if !["LOCK", "identity.new", "lost+found"].iter().any(|known| name == *known) {
                strange = Some(name);
            }
        }
        match strange {
            Some(name) => anyhow::bail!(
                "{} is no data directory of an instance, and not empty: it holds {}; name an empty or a new directory",
                path.display(),
                name.display()
            ),
            None => Ok(()),
        }
    }

    /// Opens a directory and locks it. A missing directory is made; the message of a failure names it. The identity is that of the start that
    /// begins with this; nothing of that is recorded before the caller writes it, so that a start that is refused does not count.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Identity)> {
        std::fs::create_dir_all(path).with_context(|| format!("make the data directory {}", path.display()))?;
        let lock_path = path.join("LOCK");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("open {}", lock_path.display()))?;
        if let Err(error) = lock.try_lock_exclusive() {
            anyhow::bail!(
                "{} is in use by another process ({error}); two instances cannot share a data directory",
                path.display()
            );
        }
        let directory = Self { path: path.to_owned(), _lock: lock };
        let mut identity = directory.read_identity()?;
        identity.incarnation += 1;
        Ok((directory, identity))
    }

    fn read_identity(&self) -> anyhow::Result<Identity> {
        let path = self.path.join("identity");
        match std::fs::read(&path) {
            Ok(bytes) => {
                let identity: Identity =
                    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
                anyhow::ensure!(
                    identity.format == FORMAT,
                    "{} has format {}; this program reads {FORMAT}",
                    path.display(),
                    identity.format
                );
                anyhow::ensure!(
                    !identity.logs || self.log().exists(),
                    "{} is missing, and with it votes and entries that the other instances count on: nothing here can be used without it. \
                     Bring back the whole directory as it was when the instance ended; it is not made anew",
                    self.log().display()
                );
                Ok(identity)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                anyhow::ensure!(
                    !self.log().exists(),
                    "{} has a log but no identity file: this is not a whole data directory; restore it, or start with an empty one",
                    self.path.display()
                );
                Ok(Identity {
                    format: FORMAT,
                    identity: Uuid::new_v4(),
                    incarnation: 0,
                    grid: None,
                    spec: None,
                    logs: false,
                })
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Replaces the identity file durably.
    pub fn write_identity(&self, identity: &Identity) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(identity).context("encode the identity")?;
        replace_file(&self.path.join("identity"), &bytes)
    }

    /// The shared Raft log.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// State of the management group.
    pub fn management(&self) -> PathBuf {
        self.path.join("management")
    }

    /// Store of an element.
    pub fn element(&self, number: u64) -> PathBuf {
        self.path.join("elements").join(number.to_string())
    }

    /// Directory for what queries sort on disk.
    pub fn spill(&self) -> PathBuf {
        self.path.join("scratch").join("queries")
    }

    /// Copies under way to or from an element, on the same file system as its store.
    pub fn scratch(&self, number: u64) -> PathBuf {
        self.path.join("scratch").join(number.to_string())
    }

    /// The newest orders of management.
    pub fn orders(&self) -> PathBuf {
        self.path.join("orders")
    }
}

/// Replaces a file so that after a crash either the old or the new content is there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let describe = || format!("write {}", path.display());
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).with_context(describe)?;
    file.write_all(bytes).with_context(describe)?;
    file.sync_all().with_context(describe)?;
    std::fs::rename(&fresh, path).with_context(describe)?;
    if let Some(parent) = path.parent() {
        File::open(parent).and_then(|parent| parent.sync_all()).with_context(describe)?;
    }
    Ok(())
}

/// Bytes of the files of a directory and those below; what cannot be read counts nothing.
pub fn bytes_of(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_a_new_incarnation_and_the_directory_is_locked() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (first, identity) = DataDirectory::open(folder.path()).expect("a new directory opens");
        assert_eq!(identity.incarnation, 1);
        first.write_identity(&identity).expect("written");
        let error = DataDirectory::open(folder.path()).expect_err("it is in use");
        assert!(error.to_string().contains("in use by another process"), "{error}");
        drop(first);
        // One that is refused before it is recorded does not count.
        drop(DataDirectory::open(folder.path()).expect("it is free again"));
        let (_second, again) = DataDirectory::open(folder.path()).expect("it is free again");
        assert_eq!((again.incarnation, again.identity), (2, identity.identity));
    }

    #[test]
    fn what_is_no_data_directory_is_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let refused = |path: &Path| DataDirectory::check(path).expect_err("it is something else");
        let file = folder.path().join("letter");
        std::fs::write(&file, "Dear reader").expect("written");
        assert!(format!("{:#}", refused(&file)).contains("Not a directory"), "{:#}", refused(&file));
        assert!(refused(folder.path()).to_string().contains("it holds letter"), "{}", refused(folder.path()));
        let own = folder.path().join("own");
        DataDirectory::check(&own).expect("it is made later");
        assert!(!own.exists());
        std::fs::create_dir_all(own.join("lost+found")).expect("made");
        DataDirectory::check(&own).expect("an empty file system");
        std::fs::create_dir(own.join("log")).expect("made");
        assert!(refused(&own).to_string().contains("it holds log"), "somebody else's logs");
        std::fs::write(own.join("log/CURRENT"), "").expect("written");
        DataDirectory::check(&own).expect("half of one, which opening refuses");
        std::fs::remove_dir_all(own.join("log")).expect("removed");
        std::fs::write(own.join("notes"), "").expect("written");
        let (directory, identity) = DataDirectory::open(&own).expect("opened");
        directory.write_identity(&identity).expect("written");
        DataDirectory::check(&own).expect("it is one now");
    }

    #[test]
    fn a_log_without_identity_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(folder.path().join("log")).expect("made");
        let error = DataDirectory::open(folder.path()).expect_err("half a directory");
        assert!(error.to_string().contains("no identity file"), "{error}");
    }

    #[test]
    fn a_log_that_was_made_and_is_gone_is_not_made_anew() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (directory, identity) = DataDirectory::open(folder.path()).expect("a new directory opens");
        std::fs::create_dir(directory.log()).expect("made");
        directory.write_identity(&Identity { logs: true, ..identity }).expect("written");
        drop(directory);
        drop(DataDirectory::open(folder.path()).expect("it is whole"));
        std::fs::remove_dir(folder.path().join("log")).expect("removed");
        let error = DataDirectory::open(folder.path()).expect_err("its votes are lost");
        assert!(error.to_string().contains("log is missing"), "{error}");
    }
}
