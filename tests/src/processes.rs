//! The project's own binaries as processes, as a user runs them.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The folder of the binaries that were built with the tests.
///
/// # Errors
/// When they were not built: `cargo build --workspace --all-targets` does it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    // The test lies in target/<profile>/deps.
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("no target folder")?;
    let path = folder.join(name);
    ensure!(path.is_file(), "{}: build it: cargo build --workspace --all-targets", path.display());
    Ok(path)
}

/// Seconds after which a command that does not end is ended: longer than any takes.
const ENDS_WITHIN: &str = "1200";

/// `outshine ARGUMENTS`, run to its end; killed, with status 137, where it has none.
///
/// # Errors
/// When it cannot be started; how it ended is in the value.
pub fn outshine(arguments: &[&str], environment: &[(&str, String)]) -> anyhow::Result<Output> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", ENDS_WITHIN]).arg(binary("outshine")?);
    command.args(arguments).envs(environment.iter().map(|(k, v)| (*k, v.as_str())));
    Ok(command.stdin(Stdio::null()).output()?)
}

/// As [`outshine`], which must succeed; returns what it printed.
///
/// # Errors
/// What it said, if it failed.
pub fn outshine_ok(arguments: &[&str], environment: &[(&str, String)]) -> anyhow::Result<String> {
    let output = outshine(arguments, environment)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "outshine {}: {said}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As [`outshine`], which must fail; returns its error.
///
/// # Errors
/// When it succeeded.
pub fn outshine_error(
    arguments: &[&str],
    environment: &[(&str, String)],
) -> anyhow::Result<String> {
    let output = outshine(arguments, environment)?;
    ensure!(!output.status.success(), "outshine {}: succeeded", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A process that is killed when dropped.
pub struct Process(Child);

impl Process {
    /// `outshine-worker` with one slot, its log in `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn worker(
        queue: &str,
        store: &str,
        environment: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary("outshine-worker")?);
        command.args(["--queue", queue, "--store", store, "--slots", "1", "--threads", "1"]);
        Self::start(command, environment, log)
    }

    /// `outshine ARGUMENTS` in the background.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn outshine(
        arguments: &[&str],
        environment: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary("outshine")?);
        command.args(arguments);
        Self::start(command, environment, log)
    }

    fn start(
        mut command: Command,
        environment: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        command
            .envs(environment.iter().map(|(k, v)| (*k, v.as_str())))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Ok(Self(command.spawn()?))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status()?;
        ensure!(status.success(), "kill -s {name} failed");
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill9(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end; returns whether it ended well.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(mut self, within: Duration) -> anyhow::Result<bool> {
        self.signal("TERM")?;
        self.wait_mut(within)
    }

    /// Waits for the end; returns whether it ended well.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(mut self, within: Duration) -> anyhow::Result<bool> {
        self.wait_mut(within)
    }

    fn wait_mut(&mut self, within: Duration) -> anyhow::Result<bool> {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("still running after {within:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits a moment for a process to be stopped; false where it is not.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state ...`; a name may have brackets of its own.
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Every file under `folder`: path relative to it, and content.
///
/// # Errors
/// When it cannot be read.
pub fn files(folder: &Path) -> anyhow::Result<std::collections::BTreeMap<String, bytes::Bytes>> {
    let mut all = std::collections::BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder)?.display().to_string();
                all.insert(name, std::fs::read(&path)?.into());
            }
        }
    }
    Ok(all)
}

/// The logs of processes in a folder: path and text.
fn logs(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let paths = paths.filter(|path| path.extension().is_some_and(|e| e == "log"));
    paths.filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)))
}

/// Whether a log of a process in a folder holds `words`.
#[must_use]
pub fn logged(folder: &Path, words: &str) -> bool {
    logs(folder).any(|(_, log)| log.contains(words))
}

/// The ends of the logs in a folder, for a test that failed.
#[must_use]
pub fn log_ends(folder: &Path) -> String {
    let end = |(path, log): (PathBuf, String)| {
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(30)..];
        format!("\n== {}\n{}\n", path.display(), end.join("\n"))
    };
    logs(folder).map(end).collect()
}
