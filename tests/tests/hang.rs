//! A task that makes no progress is given up, and says so.

use outshine_tests::campaigns::TINY;
use outshine_tests::processes::{files, outshine, outshine_error, outshine_ok};

/// A task that takes long is not taken for lost in the process that does it.
#[test]
fn a_long_task_is_not_published_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("tiny.toml"), TINY)?;
    let (campaign, store) = (path("tiny.toml"), path("store"));
    let mut arguments = vec!["run", &campaign, "--store", &store, "--until", "train"];
    for setting in [
        "execution.stall_seconds=1",
        "simulate.count=4000",
        "train.hidden=512",
        "train.blocks=2",
        "train.batch=64",
        "train.max_epochs=1",
    ] {
        arguments.extend(["--set", setting]);
    }
    let output = outshine(&arguments, &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("publishing again"), "{said}");
    let seconds = said.split("epochs, ").nth(1).and_then(|rest| rest.split(' ').next());
    let seconds: f64 = seconds.unwrap_or_default().parse()?;
    assert!(seconds > 1.0, "too quick a training to show anything: {said}");
    Ok(())
}

/// One epoch of this training takes many seconds on any machine, and a training
/// tells how far it is after each epoch: to a watchdog of one second it hangs.
#[test]
fn a_hung_task_ends_its_worker() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("tiny.toml"), TINY)?;
    let (campaign, store) = (path("tiny.toml"), path("store"));
    let mut arguments =
        vec!["run", &campaign, "--store", &store, "--hang-seconds", "1", "--workers", "1"];
    for setting in ["simulate.count=20000", "train.hidden=512", "train.blocks=3", "train.batch=64"]
    {
        arguments.extend(["--set", setting]);
    }
    let error = outshine_error(&arguments, &[])?;
    for words in ["has made no progress for", "the same command goes on from here"] {
        assert!(error.contains(words), "`{words}` is not in: {error}");
    }
    let done = files(std::path::Path::new(&store))?;
    assert!(!done.keys().any(|path| path.contains("/commits/train/")));
    // What hung was not the store's fault: a patient run goes on.
    let place = arguments.iter().position(|a| *a == "1").expect("the seconds");
    arguments[place] = "600";
    let out = path("out");
    arguments.extend(["--until", "simulate", "--export", &out]);
    outshine_ok(&arguments, &[])?;
    assert!(folder.path().join("out/field/galaxies.parquet").is_file(), "what there is comes out");
    let done = files(std::path::Path::new(&store))?;
    assert!(done.keys().any(|path| path.contains("/commits/simulate/")));
    Ok(())
}
