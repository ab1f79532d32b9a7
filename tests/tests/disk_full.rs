//! A campaign whose disk is full stops and says so, and goes on once there is room.

use anyhow::ensure;
use outshine_tests::chaos::checks::{Reference, odd_lines};
use outshine_tests::processes::binary;
use std::process::Command;

/// Mounts a small disk where nobody else sees it, fills it with a campaign, and
/// runs that again on a larger one. `$1`: folder. `$2`: campaign. `$3`: outshine.
const SCRIPT: &str = r#"
cd "$1" && mkdir disk && mount -t tmpfs -o size=4m tmpfs disk || exit 77
"$3" run "$2" --store disk/store >full.log 2>&1
echo $? >full.status
find disk/store -path '*/commits/*' -name '*.json' >full.commits
"$3" verify "$2" --store disk/store >full.verify 2>&1
echo $? >>full.status
mount -o remount,size=256m disk || exit 77
"$3" run "$2" --store disk/store --export out >again.log 2>&1 || exit 1
"$3" verify "$2" --store disk/store >again.verify 2>&1
"#;

#[test]
fn a_full_disk_stops_a_campaign_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let reference = Reference::make(folder.path())?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]);
    command.arg(folder.path()).arg(&reference.campaign).arg(binary("outshine")?);
    let output = match command.output() {
        Ok(output) if output.status.code() != Some(77) && !is_forbidden(&output.stderr) => output,
        other => {
            println!("SKIPPED: a disk of its own needs `unshare --user --mount`: {other:?}");
            return Ok(());
        }
    };
    let said = |name: &str| -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(folder.path().join(name))?)
    };
    ensure!(output.status.success(), "the second run failed: {}", said("again.log")?);
    // The disk was full in the middle.
    let (full, commits) = (said("full.log")?, said("full.commits")?.lines().count() as u64);
    let half = said("full.verify")?;
    assert_eq!(said("full.status")?, "1\n0\n", "{full}{half}");
    assert!(full.contains("no space left in the store"), "{full}");
    assert!(full.contains("the same command goes on from here"), "{full}");
    assert!(commits > 0 && commits < reference.tasks(), "{commits} commits: {full}");
    // Of what there is nothing is odd but that some tasks wait.
    let odd = odd_lines(&half);
    assert!(odd.len() == 1 && odd[0].ends_with(" planned tasks wait"), "{half}");
    // And nothing of it shows in the end.
    let whole = said("again.verify")?;
    assert!(odd_lines(&whole).is_empty(), "{whole}");
    assert!(reference.other_products(&folder.path().join("out"))?.is_empty());
    Ok(())
}

/// Whether `unshare` itself was not allowed to.
fn is_forbidden(stderr: &[u8]) -> bool {
    String::from_utf8_lossy(stderr).starts_with("unshare: ")
}
