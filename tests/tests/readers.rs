//! Products in the hands of others: pyarrow and DuckDB.

use anyhow::{Context, ensure};
use outshine_tests::campaigns::TINY;
use outshine_tests::processes::outshine_ok;
use outshine_tests::servers::{or_skip, python};
use std::process::Command;

#[test]
fn pyarrow_and_duckdb_read_samples_and_catalogue() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("tiny.toml"), TINY)?;
    let (campaign, store, out) = (path("tiny.toml"), path("store"), path("out"));
    outshine_ok(&["run", &campaign, "--store", &store, "--export", &out], &[])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/readers.py");
    let output = Command::new(python).args([script, &out]).output().context("python")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{error}");
    ensure!(said.contains("readers agree"), "{said}{error}");
    Ok(())
}
