//! Private servers for tests: real RabbitMQ, real S3 and real PostgreSQL, on free ports of the loopback interface and
//! in folders of their own. As root or not. All calls block.
//!
//! Nothing outlives the test: each server has a reaper, a small shell process that waits for the
//! end of a pipe that only the test holds. Dropping the server closes the pipe, and so does the
//! death of the test process by whatever signal; the reaper then kills the server and removes its
//! folder.

pub mod browser;
pub mod postgres;
pub mod rabbitmq;
pub mod s3;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

pub use rabbitmq::RabbitMq;
pub use s3::S3;

/// Set to 1, lets tests that need a server which is not installed pass as skipped.
pub const ALLOW_SKIP: &str = "OUTSHINE_ALLOW_SKIP";

/// Why there is no server.
#[derive(Debug)]
pub enum ServerError {
    /// The program is not on this machine.
    NotInstalled {
        /// What was looked for.
        program: &'static str,
    },
    /// It is, but does not do its work.
    Failed {
        /// What was tried, what came of it, and the end of the server's log.
        reason: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { program } => {
                write!(f, "{program} is not installed: run tests/install-servers.sh")
            }
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for ServerError {}

fn failed(reason: impl Into<String>) -> ServerError {
    ServerError::Failed { reason: reason.into() }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        failed(error.to_string())
    }
}

/// The server, or `None` where it is not installed and [`ALLOW_SKIP`] is 1: the test then prints
/// `SKIPPED: ...` and returns.
///
/// # Panics
/// Where there is no server otherwise.
pub fn or_skip<T>(server: Result<T, ServerError>) -> Option<T> {
    match server {
        Ok(server) => Some(server),
        Err(error @ ServerError::NotInstalled { .. })
            if std::env::var(ALLOW_SKIP).is_ok_and(|value| value == "1") =>
        {
            println!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error} (or set {ALLOW_SKIP}=1 to skip)"),
    }
}

/// The folder with the test tools' virtual environment.
pub fn tools() -> PathBuf {
    match std::env::var_os("OUTSHINE_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools"),
    }
}

/// The virtual environment's Python, which has pyarrow and DuckDB.
pub fn python() -> Result<PathBuf, ServerError> {
    let python = tools().join("bin/python");
    match python.is_file() {
        true => Ok(python),
        false => Err(ServerError::NotInstalled { program: "Python with pyarrow and DuckDB" }),
    }
}

/// How often a start is tried again on other ports.
const START_TRIES: usize = 3;

/// Starts a server on ports that are free now; on others where somebody else was faster.
fn on_free_ports<T>(
    count: u16,
    mut start: impl FnMut(u16) -> Result<T, ServerError>,
) -> Result<T, ServerError> {
    let mut outcome = Err(failed("no free ports"));
    for _ in 0..START_TRIES {
        outcome = start(free_ports(count)?);
        if !matches!(outcome, Err(ServerError::Failed { .. })) {
            break;
        }
    }
    outcome
}

/// The first of `count` neighbouring ports that nobody listens on, below the range that the system
/// hands out for outgoing connections.
fn free_ports(count: u16) -> Result<u16, ServerError> {
    const FIRST: u16 = 20_000;
    const STEP: u16 = 32;
    const BLOCKS: u16 = 384;
    assert!(count <= STEP);
    // Neighbouring processes start their search apart.
    let start = (std::process::id() % u32::from(BLOCKS)) as u16;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let start = start.wrapping_add((clock.map_or(0, |t| t.subsec_micros()) % 97) as u16);
    for block in 0..BLOCKS {
        let base = FIRST + (start + block) % BLOCKS * STEP;
        let free = (base..base + count)
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect::<Result<Vec<_>, _>>();
        if free.is_ok() {
            return Ok(base);
        }
    }
    Err(failed(format!("no {count} neighbouring free ports from {FIRST}")))
}

fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Asks until the answer is yes; false where it never is.
fn wait_until(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if ready() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// A command whose process leads a group of its own and takes no input.
fn in_own_group(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).stdin(Stdio::null());
    command
}

fn kill_group(leader: u32) {
    let group = format!("-{leader}");
    let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
}

/// The last lines of a log, for an error message.
fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The process that cleans up when we are gone.
#[derive(Debug)]
struct Reaper {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Will run `script` with `arguments` as `$1`, `$2` and so on.
    fn new(script: &str, arguments: &[&OsStr]) -> Result<Self, ServerError> {
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(format!("read -r _ || true\n{script}"))
            .arg("reaper")
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}
