//! A private PostgreSQL server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{
    Reaper, ServerError, accepts, failed, in_own_group, log_tail, on_free_ports, wait_until,
};

/// Where Debian puts its servers, one folder per version.
const SERVERS: &str = "/usr/lib/postgresql";
/// It refuses to run as root: this user is its package's.
const USER: &str = "postgres";
/// With letters that a URL and a shell take for their own.
const PASSWORD: &str = "p@ss/w:rd$'\"";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// `$1`: the server's folder. A killed server's children end by themselves.
const REAPER: &str = r#"
if [ -s "$1/data/postmaster.pid" ]; then
    read -r pid < "$1/data/postmaster.pid"
    kill -s QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -s 0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    kill -s KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

/// A PostgreSQL server of our own.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    server: Option<Child>,
    _reaper: Reaper,
}

impl Postgres {
    /// Starts a server; returns when it takes connections.
    pub fn start() -> Result<Self, ServerError> {
        let binaries = newest().ok_or(ServerError::NotInstalled { program: "PostgreSQL" })?;
        on_free_ports(1, |port| {
            let folder = tempfile::Builder::new().prefix("outshine-postgres-").tempdir()?.keep();
            let reaper = Reaper::new(REAPER, &[folder.as_os_str()])?;
            let binaries = binaries.clone();
            let mut server = Self { folder, binaries, port, server: None, _reaper: reaper };
            server.prepare()?;
            server.launch()?;
            Ok(server)
        })
    }

    /// A database of it, by URL without the password; [`Postgres::environment`]
    /// has that.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same as its certificate names it.
    pub fn url_by_name(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost:{}/{database}", self.port)
    }

    /// The password, for a process.
    pub fn environment(&self) -> (&'static str, String) {
        ("PGPASSWORD", PASSWORD.to_owned())
    }

    /// A database of it, by URL with the password.
    pub fn url_with_password(&self, database: &str) -> String {
        let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("postgres://{USER}:{encoded}@127.0.0.1:{}/{database}", self.port)
    }

    /// The password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The server's certificate: its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// Makes a database.
    pub fn create(&self, database: &str) -> Result<(), ServerError> {
        self.query("postgres", &format!("create database {database}")).map(drop)
    }

    /// What `psql` prints: rows as lines, columns apart by `|`.
    pub fn query(&self, database: &str, sql: &str) -> Result<String, ServerError> {
        let (name, password) = self.environment();
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.url(database))
            .args(["-c", sql])
            .env(name, password)
            .stdin(Stdio::null())
            .output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// Ends the server and all its connections at once, as a crash would: what was
    /// not committed is lost. [`Self::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), ServerError> {
        let pid = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        let pid = pid.lines().next().unwrap_or_default();
        Command::new("kill").args(["-s", "QUIT", pid]).status()?;
        match self.server.take() {
            Some(mut server) => server.wait().map(drop)?,
            None => return Err(failed("PostgreSQL does not run")),
        }
        Ok(())
    }

    /// Starts the server on its old disk and port.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.launch()
    }

    fn prepare(&self) -> Result<(), ServerError> {
        let folder = &self.folder;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join("password"), PASSWORD)?;
        let key = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let output = Command::new("openssl")
            .args(key)
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(folder)
            .output()?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600))?;
        if is_root()? {
            let owner = format!("{USER}:{USER}");
            let status = Command::new("chown").args(["-R", &owner]).arg(folder).status()?;
            if !status.success() {
                return Err(failed(format!("chown of {} failed", folder.display())));
            }
        }
        let output = self
            .command("initdb")?
            .args(["-D", "data", "-U", USER, "--auth=scram-sha-256", "--pwfile=password"])
            .args(["--no-sync", "--encoding=UTF8", "--locale=C"])
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// A program of the package, run as its user.
    fn command(&self, program: &str) -> Result<Command, ServerError> {
        let program = self.binaries.join(program);
        let mut command = match is_root()? {
            true => {
                let mut command = in_own_group("setpriv");
                command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}"));
                command.arg("--clear-groups").arg(program);
                command
            }
            false => in_own_group(program),
        };
        command.current_dir(&self.folder).env_remove("PGPASSWORD");
        Ok(command)
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let (folder, port) = (self.folder.clone(), self.port);
        let output = folder.join("output.log");
        let sink = fs::OpenOptions::new().create(true).append(true).open(&output)?;
        let socket = format!("unix_socket_directories={}", folder.display());
        let mut command = self.command("postgres")?;
        command.args(["-D", "data", "-p", &port.to_string(), "-h", "127.0.0.1"]);
        for setting in [
            socket.as_str(),
            // A crash of the server is no crash of the machine.
            "fsync=off",
            "ssl=on",
            "ssl_cert_file=../server.crt",
            "ssl_key_file=../server.key",
            "shared_buffers=64MB",
            "max_wal_size=1GB",
        ] {
            command.args(["-c", setting]);
        }
        let mut server = command.stdout(sink.try_clone()?).stderr(sink).spawn()?;
        let mut ended = None;
        let ready = wait_until(STARTS_WITHIN, || {
            ended = server.try_wait().ok().flatten();
            ended.is_some() || (accepts(port) && self.query("postgres", "select 1").is_ok())
        });
        if ready && ended.is_none() {
            self.server = Some(server);
            return Ok(());
        }
        let _ = server.kill();
        server.wait()?;
        Err(failed(format!("PostgreSQL does not start on port {port}:\n{}", log_tail(&output))))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            let _ = self.crash();
        }
        // The folder is the reaper's, which is dropped next.
    }
}

/// The binaries of the newest version that is installed.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(SERVERS).ok()?.flatten().map(|entry| entry.path());
    let whole = versions.filter(|path| path.join("bin/initdb").exists());
    let number =
        |path: &PathBuf| -> Option<u32> { path.file_name().and_then(OsStr::to_str)?.parse().ok() };
    whole.max_by_key(number).map(|path| path.join("bin"))
}

fn is_root() -> Result<bool, ServerError> {
    Ok(fs::metadata(Path::new("/proc/self"))?.uid() == 0)
}
