//! A headless Chromium: what a page becomes in a browser, what the browser says of
//! it, and what it asks the network for.

use super::{ServerError, failed, in_own_group, kill_group};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// Longer than any page takes.
const LIMIT: Duration = Duration::from_secs(180);
/// All that is not a file goes to this proxy, where nobody listens.
const PROXY: &str = "--proxy-server=http://127.0.0.1:9";
/// Who asks where it is the browser itself, which looks after its own affairs.
const ITSELF: &str = "not an origin";

/// What a browser made of a page.
#[derive(Debug)]
pub struct Visit {
    /// The document after it was loaded.
    pub dom: String,
    /// What it wrote to its console, line by line.
    pub console: Vec<String>,
    /// What the page asked the network for.
    pub requests: Vec<String>,
}

/// Where Chromium is.
///
/// # Errors
/// When it is not installed.
pub fn chromium() -> Result<PathBuf, ServerError> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&folders).flat_map(|f| names.map(|name| f.join(name)));
    let missing = ServerError::NotInstalled { program: "Chromium" };
    found.into_iter().find(|path| path.is_file()).ok_or(missing)
}

/// Opens a file as a user would, and waits until it is loaded; a picture of the
/// page goes to `screenshot`.
///
/// # Errors
/// When the browser fails, or takes too long.
pub fn visit(chromium: &Path, file: &Path, screenshot: &Path) -> Result<Visit, ServerError> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("net.json");
    let mut command = in_own_group(chromium);
    command.env("HOME", folder.path()).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--window-size=1200,16000",
        "--proxy-bypass-list=<-loopback>",
    ]);
    command.arg(PROXY).arg(format!("--log-net-log={}", log.display()));
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    command.arg(format!("--screenshot={}", screenshot.display()));
    command.args(["--dump-dom", "--virtual-time-budget=5000"]);
    command.arg(format!("file://{}", file.display()));
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let leader = process.id();
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = matches!(end.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Timeout));
        if late {
            kill_group(leader);
        }
        late
    });
    let mut stderr = process.stderr.take().ok_or_else(|| failed("no stderr"))?;
    let said = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut dom = Vec::new();
    let mut stdout = process.stdout.take().ok_or_else(|| failed("no stdout"))?;
    stdout.read_to_end(&mut dom)?;
    let status = process.wait()?;
    drop(ended);
    let late = watch.join().unwrap_or(true);
    let said = said.join().unwrap_or_default();
    // What it started besides may live on.
    kill_group(leader);
    if late || !status.success() {
        return Err(failed(format!("chromium ended with {status}, late: {late}\n{said}")));
    }
    let console = said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned);
    let text = std::fs::read_to_string(&log)?;
    let log = serde_json::from_str(&text).map_err(|e| failed(format!("net log: {e}")))?;
    Ok(Visit {
        dom: String::from_utf8_lossy(&dom).into_owned(),
        console: console.collect(),
        requests: requests(&log),
    })
}

/// The addresses on the network that a page asked for, from Chromium's own log.
fn requests(log: &Value) -> Vec<String> {
    let all = log["events"].as_array().into_iter().flatten();
    let address = |event: &Value| {
        let (url, who) = (event["params"]["url"].as_str()?, event["params"]["initiator"].as_str()?);
        let local = url.starts_with("file:") || url.starts_with("data:");
        (who != ITSELF && !local).then(|| url.to_owned())
    };
    all.filter_map(address).collect()
}
