use super::*;
use outshine_schemas::campaign::Campaign;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::Facts;
use serde_json::json;
use std::path::Path;

fn campaign(settings: &[&str]) -> ResolvedCampaign {
    let text =
        "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n[simulate]\ncount = 100\n";
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let campaign = Campaign::parse(text, "a.toml", Path::new("."), &settings).unwrap();
    ResolvedCampaign::new(campaign, Some(Digest::of(b"p")), None)
}

fn commit(stage: Stage, shard: Shard, facts: &[(&str, serde_json::Value)]) -> CommitRecord {
    let facts: Facts = facts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let inputs = Digest::of(b"inputs");
    CommitRecord {
        version: 1,
        task: TaskId::derive(&Digest::of(b"c"), stage, shard, &inputs),
        stage,
        shard,
        inputs,
        data_digest: CommitRecord::digest_of(&[], &facts),
        files: Vec::new(),
        facts,
        code_version: String::new(),
        seconds: 1.0,
        worker: String::new(),
    }
}

const ONE: Shard = Shard { start: 0, end: 1 };

fn calibration(passed: bool) -> CommitRecord {
    commit(Stage::Calibrate, ONE, &[("passed", json!(passed)), ("reasons", json!(["too narrow"]))])
}

fn field() -> Ended {
    ended(vec![commit(Stage::Field, ONE, &[("blocks", json!(20)), ("galaxies", json!(3))])])
}

/// A stage that has left these commits.
fn ended(commits: Vec<CommitRecord>) -> Ended {
    let inputs = Digest::of(b"inputs");
    let shards = commits.iter().map(|c| c.shard).collect();
    let stage = commits[0].stage;
    let data = inputs.clone();
    let plan = StagePlan { version: 1, stage, inputs, data, sources: Vec::new(), shards };
    Ended { plan, commits, failures: Vec::new() }
}

/// What failed is part of what a later stage is made from, whatever it left.
#[test]
fn a_stage_knows_what_it_lacks() {
    let campaign = campaign(&[]);
    let field = field();
    let shard = |start| Shard { start, end: start + 10 };
    let whole = ended(vec![commit(Stage::Fit, shard(0), &[]), commit(Stage::Fit, shard(10), &[])]);
    let lacking = |kept: usize| {
        let mut lacking = whole.clone();
        let lost = lacking.commits.remove(1 - kept);
        lacking.failures.push(FailureRecord {
            version: 1,
            task: lost.task,
            stage: Stage::Fit,
            shard: lost.shard,
            inputs: lost.inputs,
            error: String::new(),
            attempts: 1,
            worker: String::new(),
            log: Vec::new(),
        });
        lacking
    };
    let reduce = |fit: &Ended| {
        let upstream = |s| Some(if s == Stage::Fit { fit } else { &field });
        stage(Stage::Reduce, &campaign, &upstream).unwrap()
    };
    let plans = [reduce(&whole), reduce(&lacking(0)), reduce(&lacking(1))];
    let missing = |plan: &StagePlan| plan.source(Stage::Fit).unwrap().missing.clone();
    let found: Vec<_> = plans.iter().map(missing).collect();
    assert_eq!(found, [vec![], vec![shard(10)], vec![shard(0)]]);
    // Both fits are the same to the byte: what is missing tells them apart.
    let inputs: std::collections::BTreeSet<_> = plans.iter().map(|p| p.inputs.as_str()).collect();
    assert_eq!(inputs.len(), 3);
}

#[test]
fn simulations_are_cut_and_covered() {
    let campaign = campaign(&["execution.simulations_per_task=30"]);
    let plan = stage(Stage::Simulate, &campaign, &|_| None).unwrap();
    assert_eq!(plan.shards.len(), 4);
    assert_eq!(plan.shards.iter().map(|s| s.len()).sum::<u64>(), 100);
    let ids: std::collections::BTreeSet<_> =
        tasks(&campaign, &plan, &[]).into_iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), 4);
    let again = stage(Stage::Simulate, &campaign, &|_| None).unwrap();
    assert_eq!(plan, again);
}

#[test]
fn training_goes_span_by_span_until_it_says_finished() {
    let campaign = campaign(&["execution.epochs_per_task=7"]);
    let simulated = ended(vec![commit(Stage::Simulate, ONE, &[])]);
    let plan = stage(Stage::Train, &campaign, &|_| Some(&simulated)).unwrap();
    let first = tasks(&campaign, &plan, &[]);
    assert_eq!((first.len(), first[0].shard), (1, Shard { start: 0, end: 7 }));
    let span = |start, end, ended: bool| {
        commit(Stage::Train, Shard { start, end }, &[("finished", json!(ended))])
    };
    let second = tasks(&campaign, &plan, &[span(0, 7, false)]);
    assert_eq!(second[0].shard, Shard { start: 7, end: 14 });
    assert_ne!(second[0].inputs, first[0].inputs);
    assert!(tasks(&campaign, &plan, &[span(0, 7, false), span(7, 14, true)]).is_empty());
}

#[test]
fn an_uncalibrated_model_does_not_fit() {
    let field = field();
    let trained = ended(vec![commit(Stage::Train, ONE, &[("finished", json!(true))])]);
    let failed = ended(vec![calibration(false)]);
    let passed = ended(vec![calibration(true)]);
    let fit = |campaign: &ResolvedCampaign, calibrated: &Ended| {
        stage(Stage::Fit, campaign, &|s| match s {
            Stage::Field => Some(&field),
            Stage::Train => Some(&trained),
            _ => Some(calibrated),
        })
    };
    let strict = campaign(&[]);
    let error = fit(&strict, &failed).unwrap_err();
    assert_eq!(error, PlanError::Uncalibrated(vec!["too narrow".to_owned()]));
    let good = fit(&strict, &passed).unwrap();
    assert_eq!(good.shards.iter().map(|s| s.len()).sum::<u64>(), 20);
    let lax = campaign(&["calibrate.required=false"]);
    assert!(fit(&lax, &failed).is_ok());
    // Another model is another input, and so another task.
    assert_ne!(good.inputs, fit(&lax, &failed).unwrap().inputs);
}
