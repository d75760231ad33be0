//! Simulated power cuts: the store's files as they may be when everything that was not synced is lost.
//!
//! The gateway runs with the library of `tests/power-cut` loaded, which writes down what it writes and syncs. After the
//! process has ended the files are rebuilt from what they were at its start and from that log: writes that a sync
//! followed are there; of the others each is there, lost, or there in part, by the seed. The disk may have carried them
//! out in any order, so a later one may be there without an earlier one.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use order_gateway::ports::random::Random;

/// The piece that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The store's folder, and what is needed to take from it what was not synced.
pub(crate) struct PowerCut {
    library: PathBuf,
    folder: PathBuf,
    /// What the folder was when the gateway was last started.
    base: PathBuf,
    log: PathBuf,
    dice: Random,
}

/// What the library recorded, one after the other.
#[derive(Debug, PartialEq)]
enum Record<'a> {
    Write { path: &'a str, offset: usize, data: &'a [u8] },
    Truncate { path: &'a str, length: usize },
    Sync { path: &'a str },
    Remove { path: &'a str },
}

/// A file on its way to the disk.
#[derive(Default)]
struct Image {
    synced: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl PowerCut {
    /// For the folder `store` in `folder`, if there is a library.
    pub(crate) fn of(library: Option<&Path>, folder: &Path, seed: u64) -> io::Result<Option<Self>> {
        let Some(library) = library else { return Ok(None) };
        let aside = folder.join("power-cut");
        std::fs::create_dir(&aside)?;
        Self::new(library, &folder.join("store"), &aside, seed).map(Some)
    }

    /// `folder` holds the store, and nothing else; `aside` is an empty folder for copies and the log.
    fn new(library: &Path, folder: &Path, aside: &Path, seed: u64) -> io::Result<Self> {
        let (base, log) = (aside.join("base"), aside.join("writes"));
        std::fs::create_dir(&base)?;
        Ok(Self {
            library: library.canonicalize()?,
            folder: folder.to_owned(),
            base,
            log,
            dice: Random::from_seed(seed),
        })
    }

    /// What the gateway is started with.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("POWER_CUT_FOLDER", self.folder.display().to_string()),
            ("POWER_CUT_LOG", self.log.display().to_string()),
        ]
    }

    /// Takes from the store's files what was not synced. The gateway has ended.
    pub(crate) fn strike(&self) -> io::Result<()> {
        let log = match std::fs::read(&self.log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut images = HashMap::new();
        for file in files(&self.base)? {
            let path = self.folder.join(file.file_name().unwrap_or_default());
            images.insert(path.display().to_string(), Image { synced: std::fs::read(&file)?, pending: Vec::new() });
        }
        for record in records(&log) {
            play(&mut images, record);
        }
        for file in files(&self.folder)?.into_iter().chain(files(&self.base)?) {
            std::fs::remove_file(file)?;
        }
        for (path, image) in images {
            let path = PathBuf::from(path);
            let left = image.cut(&self.dice);
            std::fs::write(self.base.join(path.file_name().unwrap_or_default()), &left)?;
            std::fs::write(path, left)?;
        }
        if !log.is_empty() {
            std::fs::remove_file(&self.log)?;
        }
        Ok(())
    }
}

impl Image {
    /// What is left of it.
    fn cut(mut self, dice: &Random) -> Vec<u8> {
        // Half of the cuts come so suddenly that nothing of what was pending is there.
        let nothing = dice.fraction() < 0.5;
        for change in std::mem::take(&mut self.pending) {
            match (dice.next_u64() % 3, change) {
                _ if nothing => {}
                (0, _) => {}
                (1, Change::Write(offset, mut data)) => {
                    let sectors = data.len() / SECTOR;
                    data.truncate((dice.next_u64() as usize % (sectors + 1)) * SECTOR);
                    self.apply(Change::Write(offset, data));
                }
                (_, change) => self.apply(change),
            }
        }
        self.synced
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Truncate(length) => self.synced.resize(length, 0),
            Change::Write(_, data) if data.is_empty() => {}
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if self.synced.len() < end {
                    self.synced.resize(end, 0);
                }
                self.synced[offset..end].copy_from_slice(&data);
            }
        }
    }
}

fn play(images: &mut HashMap<String, Image>, record: Record<'_>) {
    match record {
        Record::Write { path, offset, data } => {
            let image = images.entry(path.to_owned()).or_default();
            image.pending.push(Change::Write(offset, data.to_vec()));
        }
        Record::Truncate { path, length } => {
            images.entry(path.to_owned()).or_default().pending.push(Change::Truncate(length));
        }
        // What has no image has nothing to sync: the folder itself.
        Record::Sync { path } => {
            if let Some(image) = images.get_mut(path) {
                image.sync();
            }
        }
        Record::Remove { path } => drop(images.remove(path)),
    }
}

/// The records of a log. The last one may be cut off: its process was killed.
fn records(mut log: &[u8]) -> Vec<Record<'_>> {
    let mut all = Vec::new();
    while let Some(record) = next(&mut log) {
        all.push(record);
    }
    all
}

fn next<'a>(log: &mut &'a [u8]) -> Option<Record<'a>> {
    let kind = u32::from_le_bytes(take(log, 4)?.try_into().ok()?);
    let path_length = u32::from_le_bytes(take(log, 4)?.try_into().ok()?);
    let offset = u64::from_le_bytes(take(log, 8)?.try_into().ok()?) as usize;
    let data_length = u64::from_le_bytes(take(log, 8)?.try_into().ok()?);
    let path = std::str::from_utf8(take(log, path_length as usize)?).ok()?;
    let data = take(log, data_length as usize)?;
    match kind {
        1 => Some(Record::Write { path, offset, data }),
        2 => Some(Record::Truncate { path, length: offset }),
        3 => Some(Record::Sync { path }),
        4 => Some(Record::Remove { path }),
        _ => None,
    }
}

fn take<'a>(log: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = log.split_at_checked(count)?;
    *log = rest;
    Some(taken)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(kind: u32, path: &str, offset: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(kind.to_le_bytes());
        bytes.extend((path.len() as u32).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        bytes.extend(path.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// The file `path` after a cut.
    fn left(log: &[u8], path: &str, seed: u64) -> Vec<u8> {
        let mut images = HashMap::new();
        for record in records(log) {
            play(&mut images, record);
        }
        images.remove(path).map(|image: Image| image.cut(&Random::from_seed(seed))).unwrap_or_default()
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_chance() {
        let mut log = recorded(1, "db", 0, &[1; 1024]);
        log.extend(recorded(3, "db", 0, &[]));
        log.extend(recorded(1, "db", 1024, &[2; 1024]));
        log.extend(recorded(1, "db-wal", 0, &[3; 8]));
        let mut ends = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let left = left(&log, "db", seed);
            assert_eq!(left[..1024], [1; 1024], "{seed}");
            assert!(left[1024..].iter().all(|byte| *byte == 2));
            ends.insert(left.len() - 1024);
        }
        assert_eq!(Vec::from_iter(ends), [0, 512, 1024]);
    }

    #[test]
    fn a_later_write_may_be_there_without_an_earlier_one() {
        let log = [recorded(1, "db", 0, &[1; 512]), recorded(1, "db", 512, &[2; 512])].concat();
        assert!((0..100).any(|seed| left(&log, "db", seed) == [vec![0; 512], vec![2; 512]].concat()));
    }

    #[test]
    fn a_record_that_was_cut_off_ends_the_log() {
        let mut log = recorded(1, "db", 0, b"x");
        log.extend(&recorded(1, "db", 1, b"y")[..20]);
        assert_eq!(records(&log), [Record::Write { path: "db", offset: 0, data: b"x" }]);
    }

    #[test]
    fn a_removed_file_is_gone() {
        let log = [recorded(1, "db-journal", 0, b"x"), recorded(4, "db-journal", 0, b"")].concat();
        assert!(left(&log, "db-journal", 1).is_empty());
    }
}
