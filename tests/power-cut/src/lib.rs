//! A file layer for simulated power cuts, loaded with `LD_PRELOAD`.
//!
//! kill -9 does not test syncs: what a process wrote stays in the kernel's memory. So this stands between a process and
//! the C library and writes down, for the files below the folder `POWER_CUT_FOLDER`, every write, truncation, removal and
//! sync in the order in which they happened, into the file `POWER_CUT_LOG`. From that the crash tests rebuild the files
//! as a power cut may have left them (`tests/crash/power_cut.rs`, which reads the format that [`record`] writes).
//!
//! The calls themselves are carried out as usual. A record is written after its call, so a process that is killed in
//! between leaves one too few, never one too many: what counts as synced was synced.
//!
//! Linux only, and only for programs that write with `write`, `pwrite` and `ftruncate`, as SQLite does.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use libc::{off_t, off64_t, size_t, ssize_t};

/// Kinds of records.
const WRITE: u32 = 1;
const TRUNCATE: u32 = 2;
const SYNC: u32 = 3;
const REMOVE: u32 = 4;

/// Where to look and where to write. None when the variables are missing: then nothing is recorded.
struct Watch {
    folder: PathBuf,
    log: c_int,
}

static WATCH: LazyLock<Option<Watch>> = LazyLock::new(|| {
    let folder = PathBuf::from(std::env::var_os("POWER_CUT_FOLDER")?);
    let path = CString::new(std::env::var_os("POWER_CUT_LOG")?.as_bytes()).ok()?;
    let flags = libc::O_CREAT | libc::O_APPEND | libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string, and the flags ask for a mode, which is given.
    let log = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    (log >= 0).then_some(Watch { folder, log })
});

/// Held over a call and its record, so that the records are in the order of the calls.
static ORDER: Mutex<()> = Mutex::new(());

/// The watched file behind a descriptor.
fn watched(fd: c_int) -> Option<(&'static Watch, PathBuf)> {
    let watch = WATCH.as_ref()?;
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    is_watched(watch, &path).then_some((watch, path))
}

/// The shared-memory file is none that has to survive anything: SQLite makes it anew.
fn is_watched(watch: &Watch, path: &Path) -> bool {
    path.starts_with(&watch.folder) && !path.as_os_str().as_bytes().ends_with(b"-shm")
}

/// One record: kind (u32), length of the path (u32), offset or new length (u64), length of the data (u64), all with the
/// lowest byte first; then the path, then the data.
fn record(watch: &Watch, kind: u32, path: &Path, offset: u64, data: &[u8]) {
    let path = path.as_os_str().as_bytes();
    let mut bytes = Vec::with_capacity(24 + path.len() + data.len());
    bytes.extend(kind.to_le_bytes());
    bytes.extend((path.len() as u32).to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(path);
    bytes.extend(data);
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        // The system call itself: `write` of this library would come back here.
        // SAFETY: pointer and length are those of a live slice.
        let written = unsafe { libc::syscall(libc::SYS_write, watch.log, left.as_ptr(), left.len()) };
        match usize::try_from(written) {
            Ok(written) => left = &left[written..],
            // Without its log a power cut cannot be told from a fault of the store.
            Err(_) => std::process::abort(),
        }
    }
}

/// Carries out a write and records it.
fn write_at(fd: c_int, data: *const c_void, count: size_t, offset: Option<off64_t>) -> ssize_t {
    let carry_out = || {
        // SAFETY: the arguments are the caller's, unchanged.
        let done = unsafe {
            match offset {
                Some(offset) => libc::syscall(libc::SYS_pwrite64, fd, data, count, offset),
                None => libc::syscall(libc::SYS_write, fd, data, count),
            }
        };
        done as ssize_t
    };
    let Some((watch, path)) = watched(fd) else { return carry_out() };
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: asks only where the descriptor stands.
    let start = offset.unwrap_or_else(|| unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) });
    let written = carry_out();
    if let (Ok(written), Ok(start)) = (usize::try_from(written), u64::try_from(start)) {
        // SAFETY: the system has just read so many bytes from there.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), written) };
        record(watch, WRITE, &path, start, data);
    }
    written
}

/// Carries out a call that changes a whole file and records it.
fn whole(fd: c_int, kind: u32, length: u64, carry_out: impl FnOnce() -> c_int) -> c_int {
    let Some((watch, path)) = watched(fd) else { return carry_out() };
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let done = carry_out();
    if done == 0 {
        record(watch, kind, &path, length, &[]);
    }
    done
}

/// As `write(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
    write_at(fd, data, count, None)
}

/// As `pwrite(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, data: *const c_void, count: size_t, offset: off_t) -> ssize_t {
    write_at(fd, data, count, Some(offset))
}

/// As `pwrite(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, data: *const c_void, count: size_t, offset: off64_t) -> ssize_t {
    write_at(fd, data, count, Some(offset))
}

/// As `ftruncate(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: numbers only.
    whole(fd, TRUNCATE, length as u64, || unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) } as c_int)
}

/// As `ftruncate(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    ftruncate(fd, length)
}

/// As `fsync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: numbers only.
    whole(fd, SYNC, 0, || unsafe { libc::syscall(libc::SYS_fsync, fd) } as c_int)
}

/// As `fdatasync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: numbers only.
    whole(fd, SYNC, 0, || unsafe { libc::syscall(libc::SYS_fdatasync, fd) } as c_int)
}

/// As `unlink(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's path.
    let carry_out = || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) } as c_int;
    let Some(watch) = WATCH.as_ref() else { return carry_out() };
    // SAFETY: the caller's path, which is a C string.
    let name = PathBuf::from(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    if !is_watched(watch, &name) {
        return carry_out();
    }
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let done = carry_out();
    if done == 0 {
        record(watch, REMOVE, &name, 0, &[]);
    }
    done
}
