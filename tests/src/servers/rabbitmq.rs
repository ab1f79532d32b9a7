//! A private RabbitMQ broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{
    Reaper, ServerError, accepts, failed, in_own_group, kill_group, log_tail, on_free_ports,
    wait_until,
};

/// The package's scripts; those in `/usr/sbin` switch the user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// An idle machine needs about 9 seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// RabbitMQ writes a new queue's registration to disk a moment after it has confirmed the declaration
/// (an Erlang table saved when idle for half a second), and a queue whose registration is lost never
/// elects a leader again. So brokers are killed only some time after the last new queue.
pub const REGISTERED_AFTER: Duration = Duration::from_secs(3);
/// 0: AMQP. 1: Erlang distribution. 2: epmd. 10 to 20: the command line tools.
const PORTS: u16 = 21;

/// `$1`: the server's folder. `$2`: epmd's port. Kills the server and its name daemon, and removes
/// the folder. The daemon holds on while it still has the dead server's name.
const REAPER: &str = r#"
for file in "$1/pid" "$1/group"; do
    [ -s "$file" ] || continue
    read -r pid < "$file"
    kill -s KILL -- "-$pid" 2>/dev/null
    kill -s KILL "$pid" 2>/dev/null
done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    epmd -port "$2" -names >/dev/null 2>&1 || break
    epmd -port "$2" -kill >/dev/null 2>&1
    sleep 0.2
done
rm -rf "$1"
"#;

/// A RabbitMQ broker of our own.
#[derive(Debug)]
pub struct RabbitMq {
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
    _reaper: Reaper,
}

impl RabbitMq {
    /// Starts a broker; returns when it takes connections.
    pub fn start() -> Result<Self, ServerError> {
        if !Path::new(SCRIPTS).join("rabbitmq-server").exists() {
            return Err(ServerError::NotInstalled { program: "RabbitMQ" });
        }
        on_free_ports(PORTS, |port| {
            let folder = tempfile::Builder::new().prefix("outshine-rabbitmq-").tempdir()?.keep();
            let epmd_port = (port + 2).to_string();
            let reaper = Reaper::new(REAPER, &[folder.as_os_str(), epmd_port.as_ref()])?;
            let mut broker = Self { folder, port, server: None, _reaper: reaper };
            broker.prepare()?;
            broker.launch()?;
            Ok(broker)
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    /// Kills the broker as a power cut would. Its disk stays; [`Self::restart`] brings it back.
    ///
    /// A queue younger than [`REGISTERED_AFTER`] may come back without a leader, for good.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        self.signal("KILL")?;
        self.gone()
    }

    /// The port that it listens on, on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends the running broker a signal, such as `STOP`; returns its process id.
    pub fn signal(&self, name: &str) -> Result<u32, ServerError> {
        let pid = fs::read_to_string(self.folder.join("pid"))?;
        let id = pid.trim().parse().map_err(|_| failed(format!("no process id: `{pid}`")))?;
        match Command::new("kill").args(["-s", name, pid.trim()]).status()?.success() {
            true => Ok(id),
            false => Err(failed(format!("kill -s {name} of RabbitMQ failed"))),
        }
    }

    /// Stops the broker in good order. [`Self::restart`] brings it back.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        let output = self.ctl(&["shutdown"])?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(failed(format!("rabbitmqctl shutdown: {text}")));
        }
        self.gone()
    }

    /// Starts the broker on its old disk and ports, after stopping it where it still runs.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        if self.server.is_some() {
            self.stop()?;
        }
        self.launch()
    }

    /// Forgets everything the stopped broker had on disk.
    pub fn wipe(&mut self) -> Result<(), ServerError> {
        if self.server.is_some() {
            return Err(failed("the broker still runs"));
        }
        fs::remove_dir_all(self.folder.join("mnesia"))?;
        fs::create_dir(self.folder.join("mnesia"))?;
        Ok(())
    }

    /// Runs `rabbitmqctl` on this broker.
    pub fn ctl(&self, arguments: &[&str]) -> Result<std::process::Output, ServerError> {
        let mut command = in_own_group(Path::new(SCRIPTS).join("rabbitmqctl"));
        self.environment(&mut command);
        Ok(command.args(arguments).output()?)
    }

    fn gone(&mut self) -> Result<(), ServerError> {
        let port = self.port;
        if !wait_until(STOPS_WITHIN, || !accepts(port)) {
            return Err(failed("RabbitMQ does not stop"));
        }
        if let Some(mut server) = self.server.take() {
            let stopped = wait_until(STOPS_WITHIN, || matches!(server.try_wait(), Ok(Some(_))));
            if !stopped {
                kill_group(server.id());
                server.wait()?;
            }
        }
        // The dead broker's name must be free before the next one takes it.
        let epmd = (port + 2).to_string();
        let name = format!("name t{port} at");
        let forgotten = wait_until(STOPS_WITHIN, || {
            let names = Command::new("epmd").args(["-port", &epmd, "-names"]).output();
            names.is_ok_and(|names| !String::from_utf8_lossy(&names.stdout).contains(&name))
        });
        match forgotten {
            true => Ok(()),
            false => Err(failed("epmd keeps the name of the dead broker")),
        }
    }

    fn prepare(&self) -> Result<(), ServerError> {
        for name in ["home", "mnesia", "log", "generated", "schema"] {
            fs::create_dir(self.folder.join(name))?;
        }
        fs::write(
            self.folder.join("rabbitmq.conf"),
            "loopback_users.guest = true\n\
             vm_memory_high_watermark.absolute = 1GiB\n\
             disk_free_limit.absolute = 200MB\n\
             log.console = false\n\
             log.file = broker.log\n",
        )?;
        fs::write(self.folder.join("plugins"), "[].\n")?;
        Ok(())
    }

    fn environment(&self, command: &mut Command) {
        let folder = &self.folder;
        let port = self.port;
        // Two schedulers that sleep when idle: tests share their machine.
        let erlang = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
                      -kernel inet_dist_use_interface {127,0,0,1}";
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RABBITMQ_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", folder.join("home"))
            .env("RABBITMQ_NODENAME", format!("t{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", (port + 1).to_string())
            .env("ERL_EPMD_PORT", (port + 2).to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CTL_DIST_PORT_MIN", (port + 10).to_string())
            .env("RABBITMQ_CTL_DIST_PORT_MAX", (port + 20).to_string())
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"))
            .env("RABBITMQ_SCHEMA_DIR", folder.join("schema"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang)
            .current_dir(folder);
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let output = self.folder.join("log/output.log");
        let sink = fs::File::create(&output)?;
        let mut command = in_own_group(Path::new(SCRIPTS).join("rabbitmq-server"));
        self.environment(&mut command);
        let mut server =
            command.stdout(sink.try_clone()?).stderr(sink).stdin(Stdio::null()).spawn()?;
        fs::write(self.folder.join("group"), format!("{}\n", server.id()))?;
        let port = self.port;
        let mut ended = None;
        let ready = wait_until(STARTS_WITHIN, || {
            ended = server.try_wait().ok().flatten();
            ended.is_some() || accepts(port)
        });
        if ready && ended.is_none() {
            self.server = Some(server);
            return Ok(());
        }
        kill_group(server.id());
        server.wait()?;
        Err(failed(format!(
            "RabbitMQ does not start on port {port}:\n{}\n{}",
            log_tail(&output),
            log_tail(&self.folder.join("log/broker.log"))
        )))
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            if let Ok(pid) = fs::read_to_string(self.folder.join("pid")) {
                let _ = Command::new("kill").args(["-9", pid.trim()]).status();
            }
            kill_group(server.id());
            let _ = server.wait();
        }
        // The rest is the reaper's, which is dropped next.
    }
}
