//! What this machine gives the process: files that may be open, and so connections; and what it says when it has none left.

use std::fs::File;
use std::io;
use std::sync::LazyLock;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The part of all open files that is kept for other things than requests (broker, admin server, files read and written),
const RESERVE_PART: u64 = 8;
/// at least this many,
const RESERVE_LEAST: u64 = 28;
/// at most this many.
const RESERVE_MOST: u64 = 1_024;
/// A request takes its connection, and one that is being made or waits in the pool.
const FILES_EACH: u64 = 2;

/// The limit of open files where there is none.
const UNLIMITED: u64 = 1 << 20;

/// The requests that may be on their way at once, in all of this process. Made when the first is sent: the limit is then what it stays.
static REQUESTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(requests(open_files())));

/// Raises the limit of open files as far as this process may, and says what it is then.
pub fn raise_open_files() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum;
    match setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        // Where that is refused, it stays as it is.
        Ok(()) | Err(_) => open_files(),
    }
}

/// How many files may be open.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// A place for one request, as long as it is on its way.
///
/// # Errors
/// A sentence where there are as many as the limit of open files has room for.
pub(super) fn place() -> Result<SemaphorePermit<'static>, String> {
    REQUESTS.try_acquire().map_err(|_| {
        let most = requests(open_files());
        format!(
            "{most} requests are on their way, as many as its limit of open files allows ({}: raise it)",
            open_files()
        )
    })
}

/// Whether [`place`] has one.
pub(super) fn has_place() -> bool {
    REQUESTS.available_permits() > 0
}

fn requests(open_files: u64) -> usize {
    let reserve = (open_files / RESERVE_PART).clamp(RESERVE_LEAST, RESERVE_MOST);
    let requests = (open_files.saturating_sub(reserve) / FILES_EACH).max(1);
    usize::try_from(requests).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

/// What the machine lacks, where that is why something failed.
pub fn lack(error: &io::Error) -> Option<String> {
    let code = Errno::from_raw_os_error(error.raw_os_error()?);
    Some(match code {
        Errno::MFILE => format!("no file descriptors left (its limit of open files is {}: raise it)", open_files()),
        Errno::NFILE => "no file descriptors left on the whole machine (fs.file-max)".to_owned(),
        Errno::NOMEM | Errno::NOBUFS => "no memory left for a connection".to_owned(),
        Errno::ADDRNOTAVAIL => {
            "no local port left, or no address of the kind that is called (net.ipv4.ip_local_port_range)".to_owned()
        }
        _ => return None,
    })
}

/// The same as [`lack`] where no file can be opened now.
pub(super) fn lacks_files() -> Option<String> {
    File::open("/dev/null").err().and_then(|error| lack(&error))
}

/// What the machine lacks, where a panic says that no thread can be had.
#[must_use]
pub fn lack_of_threads(panic: &(dyn std::any::Any + Send)) -> Option<String> {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied())?;
    said.contains("can't spawn")
        .then(|| "no thread left to look up names with (ulimit -u, or the limit of processes)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_room_for_everything_else_whatever_the_limit() {
        for (files, most) in [(0, 1), (28, 1), (64, 18), (256, 112), (1_024, 448), (1_048_576, 523_776)] {
            assert_eq!(requests(files), most, "{files}");
        }
        assert!(requests(u64::MAX) <= Semaphore::MAX_PERMITS);
    }

    #[test]
    fn trouble_of_others_is_not_the_machines() {
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
            assert_eq!(lack(&kind.into()), None);
        }
        assert_eq!(lack(&io::Error::from_raw_os_error(111)), None);
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_told_from_other_panics() {
        let of = |said: &str| lack_of_threads(&said.to_owned());
        assert!(of("OS can't spawn worker thread: Resource temporarily unavailable").is_some());
        assert_eq!(of("index out of bounds"), None);
    }
}
