//! A private S3 server: SeaweedFS.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{
    Reaper, ServerError, accepts, failed, in_own_group, kill_group, log_tail, on_free_ports, tools,
    wait_until,
};

/// An idle machine needs about 4 seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// 0 and 7: S3. 1 and 2: master. 3 and 4: volume. 5 and 6: filer.
const PORTS: u16 = 8;
const BUCKET: &str = "outshine";
/// Good for nothing but the private server of one test.
const ACCESS_KEY: &str = "test-access";
const SECRET_KEY: &str = "test-secret";

/// `$1`: the server's folder. `$2`: its first port. Kills the server and removes the folder, and the
/// sockets that the server keeps at a fixed place.
const REAPER: &str = r#"
if [ -s "$1/group" ]; then
    read -r pid < "$1/group"
    kill -s KILL -- "-$pid" 2>/dev/null
fi
rm -rf "$1"
for offset in 0 1 2 3 4 5 6 7; do
    rm -f /tmp/seaweedfs-*-$(($2 + offset)).sock
done
"#;

/// An S3 server of our own with one empty bucket.
#[derive(Debug)]
pub struct S3 {
    folder: PathBuf,
    port: u16,
    program: PathBuf,
    server: Option<Child>,
    _reaper: Reaper,
}

/// `weed`: named in `OUTSHINE_WEED`, in the test tools, or on the path.
fn weed() -> Result<PathBuf, ServerError> {
    let named = std::env::var_os("OUTSHINE_WEED").map(PathBuf::from);
    let tool = Some(tools().join("bin/weed"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("weed"));
    named
        .into_iter()
        .chain(tool)
        .chain(on_path)
        .find(|program| program.is_file())
        .ok_or(ServerError::NotInstalled { program: "SeaweedFS (weed)" })
}

impl S3 {
    /// Starts a server and makes its bucket; returns when the bucket can be used.
    pub fn start() -> Result<Self, ServerError> {
        let program = weed()?;
        on_free_ports(PORTS, |port| {
            let folder = tempfile::Builder::new().prefix("outshine-s3-").tempdir()?.keep();
            let reaper = Reaper::new(REAPER, &[folder.as_os_str(), port.to_string().as_ref()])?;
            let program = program.clone();
            let mut server = Self { folder, port, program, server: None, _reaper: reaper };
            server.prepare()?;
            server.launch()?;
            server.make_bucket()?;
            Ok(server)
        })
    }

    /// The bucket, with a prefix of the caller's choice below: `s3://outshine/PREFIX`.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// Where the server listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on, on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends the running server a signal, such as `STOP`; returns its process id.
    pub fn signal(&self, name: &str) -> Result<u32, ServerError> {
        let Some(server) = &self.server else { return Err(failed("SeaweedFS does not run")) };
        let group = format!("-{}", server.id());
        match Command::new("kill").args(["-s", name, "--", &group]).status()?.success() {
            true => Ok(server.id()),
            false => Err(failed(format!("kill -s {name} of SeaweedFS failed"))),
        }
    }

    /// What a process needs in its environment to open [`Self::url`].
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Kills the server as a power cut would; [`Self::restart`] brings it back.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            kill_group(server.id());
            server.wait()?;
        }
        let port = self.port;
        match wait_until(STOPS_WITHIN, || !accepts(port)) {
            true => Ok(()),
            false => Err(failed("SeaweedFS does not stop")),
        }
    }

    /// Starts the server on its old disk and ports, after killing it where it still runs.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.kill9()?;
        self.launch()
    }

    fn prepare(&self) -> Result<(), ServerError> {
        for name in ["data", "logs"] {
            fs::create_dir(self.folder.join(name))?;
        }
        let identities = format!(
            r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}}]}}"#
        );
        Ok(fs::write(self.folder.join("s3.json"), identities)?)
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let (folder, port) = (&self.folder, self.port);
        let output = folder.join("logs/output.log");
        let sink = fs::File::create(&output)?;
        let mut command = in_own_group(&self.program);
        command
            .arg(format!("-logdir={}", folder.join("logs").display()))
            .arg("-alsologtostderr=false")
            .arg("server")
            .arg(format!("-dir={}", folder.join("data").display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-master.port={}", port + 1))
            .arg(format!("-master.port.grpc={}", port + 2))
            .args(["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"])
            .arg("-master.electionTimeout=1s")
            .arg(format!("-volume.port={}", port + 3))
            .arg(format!("-volume.port.grpc={}", port + 4))
            .arg("-volume.max=100")
            .arg("-filer")
            .arg(format!("-filer.port={}", port + 5))
            .arg(format!("-filer.port.grpc={}", port + 6))
            .arg("-s3")
            .arg(format!("-s3.port={port}"))
            .arg(format!("-s3.port.grpc={}", port + 7))
            .arg(format!("-s3.config={}", folder.join("s3.json").display()))
            .arg(format!("-filer.localSocket={}", folder.join("filer.sock").display()))
            .arg(format!("-s3.localSocket={}", folder.join("s3.sock").display()))
            // Further services, on fixed ports where they are not turned off.
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"])
            .current_dir(folder);
        let mut server =
            command.stdout(sink.try_clone()?).stderr(sink).stdin(Stdio::null()).spawn()?;
        fs::write(folder.join("group"), format!("{}\n", server.id()))?;
        let mut ended = None;
        // The S3 port opens before writes can succeed; an object that can be written says more.
        let ready = wait_until(STARTS_WITHIN, || {
            ended = server.try_wait().ok().flatten();
            ended.is_some() || (accepts(port) && filer_takes(port + 5, "/probe/ready"))
        });
        if ready && ended.is_none() {
            self.server = Some(server);
            return Ok(());
        }
        kill_group(server.id());
        server.wait()?;
        Err(failed(format!("SeaweedFS does not start on port {port}:\n{}", log_tail(&output))))
    }

    /// A bucket is a folder below `/buckets` of the file layer under S3.
    fn make_bucket(&self) -> Result<(), ServerError> {
        let path = format!("/buckets/{BUCKET}/");
        match wait_until(STARTS_WITHIN, || filer_takes(self.port + 5, &path)) {
            true => Ok(()),
            false => Err(failed("cannot make the bucket")),
        }
    }
}

/// Writes a small file (or, with a slash at the end, a folder) to the file layer.
fn filer_takes(port: u16, path: &str) -> bool {
    let post = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // PUT takes a raw body; POST makes folders.
        let (method, body) = if path.ends_with('/') { ("POST", "") } else { ("PUT", "ready") };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    post().is_ok_and(|answer| answer.starts_with("HTTP/1.1 20"))
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill_group(server.id());
            let _ = server.wait();
        }
        // The folder is the reaper's, which is dropped next.
    }
}
