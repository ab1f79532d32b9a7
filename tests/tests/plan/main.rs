//! `outshine plan` against what campaigns really make.

mod counting;

use anyhow::Context;
use outshine_coordinator::estimate::network::Network;
use outshine_coordinator::estimate::{Counts, Estimate, Known, Machines, estimate};
use outshine_coordinator::look::Look;
use outshine_coordinator::prepare;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign, Section};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_tests::campaigns::{TINY, run_here, run_until, tiny};
use outshine_tests::processes::{files, outshine_error, outshine_ok};
use outshine_worker::stages::Science;
use std::path::Path;
use std::sync::atomic::Ordering;

const MACHINES: Machines = Machines { cores: 2, threads: 2 };

/// Galaxies whose pixels are known beforehand: two blocks each.
const PRIOR: [&str; 2] = ["field.mock.kind=prior", "field.mock.pixels_per_galaxy=600"];

fn by_mock(campaign: &ResolvedCampaign) -> anyhow::Result<Counts> {
    Ok(Counts::of_mock(campaign.campaign.field.mock.as_ref().context("a mock")?))
}

fn plan(
    campaign: &ResolvedCampaign,
    counts: &Counts,
    look: Option<&Look>,
) -> anyhow::Result<Estimate> {
    let graph = look.map(Look::graph);
    Ok(estimate(Known { campaign, counts, inputs: &[], graph }, MACHINES)?)
}

async fn seen(store: &Store, campaign: &ResolvedCampaign) -> anyhow::Result<Look> {
    let mut look = Look::find(store, campaign).await?.context("it is there")?;
    look.refresh(store).await?;
    Ok(look)
}

/// Bytes of all that a stage left: data, commits and plan.
async fn written(store: &Store, campaign: &ResolvedCampaign, stage: Stage) -> anyhow::Result<u64> {
    let layout = Layout::new(&campaign.id());
    let of_stage = |path: &str| {
        let below = |folder: String| path.starts_with(&format!("{folder}/"));
        below(layout.stage_data(stage))
            || below(layout.commits(stage))
            || below(format!("{}/{stage}", layout.indexes()))
            || layout.plan_of(path) == Some(stage)
    };
    let all = store.list(layout.root()).await?;
    Ok(all.iter().filter(|entry| of_stage(&entry.path)).map(|entry| entry.bytes).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_takes_what_its_plan_said() -> anyhow::Result<()> {
    let (given, _) = prepare::resolve(tiny(&PRIOR)?).await?;
    let counts = by_mock(&given)?;
    let before = plan(&given, &counts, None)?;
    assert!(before.stages.iter().all(|stage| !stage.at_most && !stage.measured));

    let (store, made) = counting::counting().await?;
    let graph = run_here(&store, tiny(&PRIOR)?, 2).await?.graph()?;
    // Listings go with time, and are not counted here.
    let requests = before.requests();
    for (what, said, real) in [("put", requests.put, &made.put), ("get", requests.get, &made.get)] {
        let real = real.load(Ordering::Relaxed);
        let ratio = said as f64 / real as f64;
        assert!((0.7..1.4).contains(&ratio), "{what}: {said} said, {real} made");
    }
    assert!(made.list.load(Ordering::Relaxed) > 0 && requests.list > 0);
    let look = seen(&store, &given).await?;
    let after = plan(&given, &counts, Some(&look))?;
    for (stage, measured) in before.stages.iter().zip(&after.stages) {
        let name = stage.stage;
        let commits = graph.commits(name);
        assert_eq!(stage.tasks, commits.len() as u64, "tasks of {name}");
        assert_eq!((measured.tasks, measured.done), (stage.tasks, stage.tasks), "{name}");
        let real = written(&store, &given, name).await? as f64;
        let ratio = stage.bytes as f64 / real;
        assert!((0.5..2.0).contains(&ratio), "bytes of {name}: {} of {real}", stage.bytes);
        let ratio = measured.bytes as f64 / real;
        assert!((0.9..1.1).contains(&ratio), "measured bytes of {name}: {}", measured.bytes);
        assert!(measured.measured, "{name}");
    }
    // Of a stage of one thread per task, the time is that of its commits.
    let seconds: f64 = graph.commits(Stage::Fit).iter().map(|commit| commit.seconds).sum();
    assert_eq!(after.stages[Stage::Fit as usize].core_seconds, seconds);
    Ok(())
}

/// Galaxies with a shape: at most so many tasks before, exactly so many once
/// the field is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_committed_field_makes_counts_exact() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let (given, _) = prepare::resolve(tiny(&[])?).await?;
    let before = plan(&given, &by_mock(&given)?, None)?;
    run_until(&store, tiny(&[])?, 2, Stage::Field).await?.graph()?;
    let look = seen(&store, &given).await?;
    let field = look.graph().commits(Stage::Field).first().context("a field")?;
    let counts = Counts::of_field(field, 0).context("counts")?;
    let exact = plan(&given, &counts, Some(&look))?;
    let graph = run_here(&store, tiny(&[])?, 2).await?.graph()?;
    for stage in Stage::ALL {
        let (before, exact) = (&before.stages[stage as usize], &exact.stages[stage as usize]);
        let real = graph.commits(stage).len() as u64;
        assert_eq!((exact.tasks, exact.at_most), (real, false), "{stage}");
        assert!(before.tasks == real || (before.at_most && before.tasks > real), "{stage}");
    }
    assert!(before.stages[Stage::Fit as usize].at_most);
    Ok(())
}

/// Defaults of sections that only the science reads.
#[test]
fn plans_know_the_defaults_of_the_science() -> anyhow::Result<()> {
    let text = "name = \"d\"\nestimator = \"train\"\n[field.mock]\n";
    let campaign = Campaign::parse(text, "d.toml", Path::new("."), &[])?;
    let science = Science::new(&campaign)?;
    let section = |value: serde_json::Value| value.as_object().cloned().context("a section");
    let mock = section(serde_json::to_value(&science.mock)?)?;
    assert_eq!(Counts::of_mock(&mock), Counts::of_mock(&Section::new()));
    let mut explicit = campaign.clone();
    explicit.train = section(serde_json::to_value(&science.train)?)?;
    assert!(explicit.train.contains_key("redshift_hidden"));
    assert_eq!(Network::new(&explicit), Network::new(&campaign));
    Ok(())
}

#[test]
fn the_command_writes_nothing_and_names_what_is_wrong() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (toml, store) = (path("tiny.toml"), path("store"));
    std::fs::write(&toml, TINY)?;
    let before = files(folder.path())?;
    let priced = ["--price-cpu-hour", "3600"];
    let mut arguments = vec!["plan", &toml, "--store", &store, "--workers", "64"];
    arguments.extend(priced);
    let text = outshine_ok(&arguments, &[])?;
    let line = |stage: &str| text.lines().find(|line| line.trim_start().starts_with(stage));
    assert!(line("fit").context("fit")?.contains("<= 12 "), "{text}");
    assert!(line("simulate").context("simulate")?.contains("2000 simulations"), "{text}");
    assert!(text.contains("64 cores") && text.contains("cost:"), "{text}");
    assert_eq!(files(folder.path())?, before);
    assert!(!folder.path().join("store").exists(), "a plan made a folder");

    let error = outshine_error(&["plan", &toml, "--set", "train.hiden=3"], &[])?;
    assert!(error.contains("hiden"), "{error}");
    let pixels = path("pixels.parquet");
    std::fs::write(&pixels, b"no table")?;
    let table = path("table.toml");
    std::fs::write(&table, format!("name = \"t\"\n[field]\npixels = \"{pixels}\"\n"))?;
    let error = outshine_error(&["plan", &table, "--store", &store], &[])?;
    assert!(error.contains("pixels.parquet"), "{error}");
    Ok(())
}
