//! What was run: stages, tasks, times, bytes, and what is missing.

use anyhow::Context;
use outshine_coordinator::look::Look;
use outshine_coordinator::stage_graph::State;
use outshine_coordinator::status::failed;
use outshine_coordinator::touched::touched;
use outshine_coordinator::words;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_worker::tools::report::html::{Page, Rows, number};
use outshine_worker::tools::report::list;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// Failed tasks that are listed.
const LISTED: usize = 20;

/// Writes the section; `model`: digest of the model, or empty.
pub async fn write(page: &mut Page, store: &Store, look: &Look, model: &str) -> anyhow::Result<()> {
    let resolved = look.campaign();
    page.section("What was run");
    page.facts(&facts(resolved, look, model));
    let complete = look.graph().complete(Stage::Catalogue);
    if !complete {
        let open: Vec<String> =
            look.graph().states().filter_map(|(s, state)| open(s, state)).collect();
        page.warn(&format!("The campaign is not complete: {}.", open.join("; ")));
    }
    page.part("Stages");
    let table = stages(store, look).await?;
    page.table(
        &table,
        "Wall: from the start of the first task to the end of the last, by the store's clock; task time: the \
         sum over tasks. Bytes of what the tasks left. Lost: tasks whose worker died or was cut off and that \
         were tried again; failed: tasks that were given up.",
    );
    let failures = failed(look);
    if failures.is_empty() {
        page.say("No task failed.");
        return Ok(());
    }
    let galaxies = touched(store, look.graph(), &failures).await?;
    let all: BTreeSet<i64> = galaxies.values().flatten().copied().collect();
    if !all.is_empty() {
        let all: Vec<i64> = all.into_iter().collect();
        page.warn(&format!("Tasks of {} failed: `outshine retry` repeats them.", list(&all)));
    }
    let mut table = Rows::new(&["stage", "shard", "galaxies", "error", "tried"], 4);
    for failure in failures.iter().take(LISTED) {
        let ids = galaxies.get(failure.task.as_str()).filter(|ids| !ids.is_empty());
        table.add(vec![
            failure.stage.name().to_owned(),
            failure.shard.to_string(),
            ids.map_or_else(String::new, |ids| list(ids)),
            failure.error.clone(),
            failure.attempts.to_string(),
        ]);
    }
    let more = failures.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" And {more} more.") } else { String::new() };
    page.table(&table, &format!("Tasks that failed.{more}"));
    Ok(())
}

fn facts(resolved: &ResolvedCampaign, look: &Look, model: &str) -> Vec<(&'static str, String)> {
    let campaign = &resolved.campaign;
    let mut facts = vec![
        ("campaign", campaign.name.clone()),
        ("id", resolved.id().to_string()),
        ("digest", resolved.digest().to_string()),
        ("seed", campaign.seed.to_string()),
        ("estimator", String::from(campaign.estimator.clone())),
    ];
    if !model.is_empty() {
        facts.push(("model", model.to_owned()));
    }
    for (name, digest, file) in [
        ("pixels", &resolved.pixels, &campaign.field.pixels),
        ("sources", &resolved.sources, &campaign.field.sources),
    ] {
        if let Some(digest) = digest {
            facts.push((name, format!("{digest} ({})", file.as_deref().unwrap_or("unnamed"))));
        }
    }
    if let Some(digest) = &resolved.redshifts {
        facts.push(("redshifts", digest.to_string()));
    }
    if let Some(mock) = &campaign.field.mock {
        facts.push(("mock", serde_json::Value::Object(mock.clone()).to_string()));
    }
    let codes: BTreeSet<&str> = Stage::ALL
        .into_iter()
        .flat_map(|stage| look.graph().state(stage).commits())
        .map(|commit| commit.code_version.as_str())
        .collect();
    facts.push(("code", codes.into_iter().collect::<Vec<_>>().join(", ")));
    facts.push(("science version", resolved.science_version.to_string()));
    facts.push(("bands", format!("{}: {}", campaign.bands.len(), campaign.bands.join(" "))));
    facts.push(("S/N", snr(campaign)));
    for (name, section) in
        [("prior", &campaign.prior), ("model options", &campaign.model), ("train", &campaign.train)]
    {
        let text = match section.is_empty() {
            true if name == "prior" => "default (tau-delayed histories)".to_owned(),
            true => continue,
            false => serde_json::Value::Object(section.clone()).to_string(),
        };
        facts.push((name, text));
    }
    facts.push(("draws per pixel", campaign.fit.draws.to_string()));
    facts
}

fn snr(campaign: &Campaign) -> String {
    let field = &campaign.field;
    format!("mean over {}, fitted from {}", field.snr_bands.join(" "), field.min_mean_snr)
}

/// A stage that is not complete, in words.
fn open(stage: Stage, state: &State) -> Option<String> {
    let counts = state.counts();
    match state {
        State::Complete(_) => None,
        State::Blocked(_) => Some(format!("{stage} waits for earlier stages")),
        State::Ready(_) => Some(format!("{stage} is not planned yet")),
        State::Running(_) => Some(format!(
            "{} of {} tasks of {stage} are left",
            counts.pending,
            counts.pending + counts.done + counts.failed
        )),
        State::Failed(failed) => Some(format!("{stage} cannot go on: {}", failed.reason)),
    }
}

async fn stages(store: &Store, look: &Look) -> anyhow::Result<Rows> {
    let mut table = Rows::new(
        &[
            "stage",
            "state",
            "tasks",
            "done",
            "failed",
            "lost",
            "wall",
            "task time",
            "slowest",
            "files",
            "bytes",
            "rows",
        ],
        2,
    );
    let layout = Layout::new(&look.campaign().id());
    for (stage, state) in look.graph().states() {
        let counts = state.counts();
        let word = match state {
            State::Blocked(_) => "waits",
            State::Ready(_) => "can start",
            State::Running(_) => "under way",
            State::Complete(_) => "complete",
            State::Failed(_) => "cannot go on",
        };
        let commits = state.commits();
        let mut written: BTreeMap<String, SystemTime> = BTreeMap::new();
        if !commits.is_empty() {
            let entries = store.list(&layout.commits(stage)).await.context("commits of a stage")?;
            written.extend(entries.into_iter().map(|entry| (entry.path, entry.modified)));
        }
        let spans = commits.iter().filter_map(|commit| {
            let end = *written.get(&layout.commit(stage, commit.shard, &commit.task))?;
            let took = Duration::try_from_secs_f64(commit.seconds).ok()?;
            Some((end.checked_sub(took)?, end))
        });
        let whole = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let wall = whole.and_then(|(start, end)| end.duration_since(start).ok());
        let lost =
            store.folders(&layout.stage_losses(stage)).await.context("losses of a stage")?.len();
        let slowest = commits.iter().map(|c| c.seconds).fold(0.0, f64::max);
        let files = || commits.iter().flat_map(|c| &c.files);
        let some =
            |seconds: f64| if commits.is_empty() { number(f64::NAN, 0) } else { time(seconds) };
        table.add(vec![
            stage.name().to_owned(),
            word.to_owned(),
            (counts.done + counts.pending + counts.failed).to_string(),
            counts.done.to_string(),
            counts.failed.to_string(),
            lost.to_string(),
            wall.map_or_else(|| number(f64::NAN, 0), |wall| time(wall.as_secs_f64())),
            some(words::seconds(commits)),
            some(slowest),
            files().count().to_string(),
            words::bytes(files().map(|f| f.bytes).sum()),
            files().map(|f| f.rows).sum::<u64>().to_string(),
        ]);
    }
    Ok(table)
}

/// Seconds to a tenth, as long as they are few.
fn time(seconds: f64) -> String {
    if seconds < 99.5 { format!("{} s", number(seconds, 1)) } else { words::duration(seconds) }
}
