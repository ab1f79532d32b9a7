//! A process that works can be asked how it is.

use anyhow::Context;
use outshine_tests::campaigns::TINY;
use outshine_tests::processes::Process;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn ask(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks until the answer holds all of `words`.
fn wait_for(address: SocketAddr, path: &str, words: &[&str]) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < Duration::from_secs(120) {
        if let Ok(answer) = ask(address, path) {
            if words.iter().all(|word| answer.contains(word)) {
                return Ok(());
            }
            last = answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("{path} never held {words:?}; last: {last}")
}

/// The campaign is left running: its training would take hours.
#[test]
fn a_running_campaign_shows_its_metrics() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("tiny.toml"), TINY)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (campaign, store, at) = (path("tiny.toml"), path("store"), address.to_string());
    let arguments = [
        "run",
        &campaign,
        "--store",
        &store,
        "--http",
        &at,
        "--set",
        "train.max_epochs=100000",
        "--set",
        "train.patience=100000",
    ];
    let running = Process::outshine(&arguments, &[], &folder.path().join("log"))?;
    wait_for(address, "/health", &["200 OK"])?;
    wait_for(address, "/ready", &["200 OK"])?;
    let metrics = [
        "outshine_tasks{stage=\"simulate\",state=\"done\"} ",
        "outshine_tasks{stage=\"train\",state=\"pending\"} 1",
        "outshine_stage_eta_seconds{stage=\"simulate\"} 0",
        "outshine_worker_tasks_total{stage=\"simulate\",outcome=\"done\"} ",
        "outshine_worker_task_seconds_count{stage=\"simulate\"} ",
    ];
    wait_for(address, "/metrics", &metrics)?;
    // A second process finds the address taken, and says so.
    let error = outshine_tests::processes::outshine_error(&arguments, &[])?;
    assert!(error.contains("--http") && error.contains(&at), "{error}");
    running.kill9().context("stopping it")
}
