//! Named points at which a process can be made to die, so that tests can kill
//! it exactly between two steps that a signal would hardly ever hit.
//!
//! Always compiled in, and nothing but one look at a cell unless the variable
//! [`POINT`] names a point: `NAME:OCCURRENCE`, such as `put-before-commit:3`. The
//! process then appends a line to the file that [`LOG`] names, synced to disk,
//! and aborts when it comes to that point for the third time.
//!
//! A crate of its own, without dependencies, as the broker, the store, the
//! worker and the coordinator each have a point and share no other crate.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the point to die at.
pub const POINT: &str = "OUTSHINE_FAULT_POINT";
/// The variable that names the file which tells of it.
pub const LOG: &str = "OUTSHINE_FAULT_LOG";

/// In a worker: an attempt's files are in the store, its commit record is not.
pub const PUT_BEFORE_COMMIT: &str = "put-before-commit";
/// In a worker: the commit record is in the store, the message is not acknowledged.
pub const COMMIT_BEFORE_ACK: &str = "commit-before-ack";
/// In a worker: in the middle of a task of stage reduce.
pub const REDUCING: &str = "reducing";
/// In a coordinator: a stage's plan is made and not stored.
pub const BEFORE_PLAN: &str = "before-plan";
/// In a coordinator: as many messages as the occurrence says are confirmed.
pub const PUBLISHING: &str = "publishing";

/// All points that there are.
pub const ALL: [&str; 5] =
    [PUT_BEFORE_COMMIT, COMMIT_BEFORE_ACK, REDUCING, BEFORE_PLAN, PUBLISHING];

/// The point to die at.
#[derive(Debug)]
struct Wanted {
    name: String,
    occurrence: u64,
    log: Option<PathBuf>,
    seen: AtomicU64,
}

impl Wanted {
    fn parse(text: &str, log: Option<PathBuf>) -> Result<Self, String> {
        let wrong = || {
            let names = ALL.join(", ");
            format!(
                "{POINT}=`{text}`: write NAME:OCCURRENCE, NAME one of {names}, OCCURRENCE from 1"
            )
        };
        let (name, occurrence) = text.split_once(':').ok_or_else(wrong)?;
        let occurrence = occurrence.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        if !ALL.contains(&name) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), occurrence, log, seen: AtomicU64::new(0) })
    }

    /// Whether this is the time; counts the visit.
    fn reached(&self, name: &str) -> bool {
        name == self.name && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.occurrence
    }

    fn tell(&self) -> std::io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let mut file = OpenOptions::new().create(true).append(true).open(log)?;
        writeln!(file, "{}:{} process {}", self.name, self.occurrence, std::process::id())?;
        file.sync_all()
    }
}

fn wanted() -> Option<&'static Wanted> {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    let read = || {
        let text = std::env::var(POINT).ok().filter(|text| !text.is_empty())?;
        match Wanted::parse(&text, std::env::var_os(LOG).map(PathBuf::from)) {
            Ok(wanted) => Some(wanted),
            Err(error) => give_up(&error),
        }
    };
    WANTED.get_or_init(read).as_ref()
}

#[allow(clippy::print_stderr)]
fn give_up(error: &str) -> ! {
    eprintln!("{error}");
    std::process::exit(2)
}

/// Dies here, if this is the point and the occurrence that the environment
/// asks for; else does nothing.
pub fn point(name: &str) {
    let Some(wanted) = wanted() else { return };
    if !wanted.reached(name) {
        return;
    }
    match wanted.tell() {
        Ok(()) => std::process::abort(),
        Err(error) => give_up(&format!("{LOG}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    /// What a process that comes to two points four times each dies of.
    fn visit(folder: &std::path::Path, point: &str) -> ExitStatus {
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test);
        command.args(["--exact", "tests::a_process_that_asks_for_nothing_goes_on"]);
        command.env(POINT, point).env(LOG, folder.join("log"));
        command.output().unwrap().status
    }

    /// By itself it comes to every point; the other tests run it in processes of
    /// their own, that ask for one.
    #[test]
    fn a_process_that_asks_for_nothing_goes_on() {
        let mut passed = 0;
        for _ in 0..4 {
            for name in [REDUCING, PUBLISHING] {
                point(name);
                passed += 1;
            }
        }
        assert_eq!(passed, 8);
    }

    #[test]
    fn a_process_dies_at_the_point_and_tells_so() {
        let folder = tempfile::tempdir().unwrap();
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        const SIGABRT: i32 = 6;
        for without in ["", "publishing:5", "before-plan:1"] {
            assert!(visit(folder.path(), without).success(), "{without}");
            assert_eq!(log(), "");
        }
        assert_eq!(visit(folder.path(), "publishing:3").signal(), Some(SIGABRT));
        assert!(log().starts_with("publishing:3 process "), "{}", log());
        assert_eq!(visit(folder.path(), "reducing:1").signal(), Some(SIGABRT));
        assert_eq!(log().lines().count(), 2);
    }

    #[test]
    fn a_point_that_there_is_not_is_refused() {
        for wrong in ["reducing", "reducing:", "reducing:0", "reduce:1", ":1"] {
            let error = Wanted::parse(wrong, None).unwrap_err();
            assert!(error.contains(POINT) && error.contains("put-before-commit"), "{error}");
            assert_eq!(visit(std::path::Path::new("/"), wrong).code(), Some(2), "{wrong}");
        }
    }
}
