use super::*;
use outshine_schemas::campaign::Campaign;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use serde_json::json;
use std::path::Path;

/// A campaign of three simulation and three fit tasks.
fn graph(max_failed: u64) -> StageGraph {
    let text = format!(
        "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n[simulate]\ncount = 10\n\
         [execution]\nsimulations_per_task = 4\nblocks_per_task = 1\n\
         max_failed_tasks = {max_failed}\n"
    );
    let campaign = Campaign::parse(&text, "a.toml", Path::new("."), &[]).unwrap();
    StageGraph::new(ResolvedCampaign::new(campaign, Some(Digest::of(b"p")), None))
}

fn done(task: &Task) -> CommitRecord {
    let facts = match task.stage {
        Stage::Field => json!({"blocks": 3, "galaxies": 2}),
        Stage::Train => json!({"finished": task.shard.start > 0}),
        Stage::Calibrate => json!({"passed": true}),
        _ => json!({}),
    };
    let facts = facts.as_object().unwrap().clone();
    CommitRecord {
        version: 1,
        task: task.id.clone(),
        stage: task.stage,
        shard: task.shard,
        inputs: task.inputs.clone(),
        data_digest: CommitRecord::digest_of(&[], &facts),
        files: Vec::new(),
        facts,
        code_version: String::new(),
        seconds: 0.0,
        worker: String::new(),
    }
}

#[test]
fn a_campaign_runs_to_its_end_stage_by_stage() {
    let mut graph = graph(0);
    assert_eq!(graph.ready(), [Stage::Field, Stage::Simulate]);
    let mut order = Vec::new();
    for _ in 0..100 {
        for stage in graph.ready() {
            let plan = graph.plan(stage).unwrap();
            graph.start(plan);
        }
        // The last pending first: the order of commits must not matter.
        let Some(task) = graph.pending().last() else { break };
        order.push(task.stage);
        graph.commit(done(&task));
        graph.commit(done(&task));
    }
    assert!(graph.complete(Stage::Catalogue));
    assert_eq!(graph.commits(Stage::Simulate).len(), 3);
    assert!(graph.commits(Stage::Simulate).is_sorted_by_key(|r| r.shard));
    assert_eq!(graph.commits(Stage::Train).len(), 2);
    let last = order.iter().rposition(|s| *s == Stage::Calibrate).unwrap();
    assert!(order[..last].iter().all(|s| *s < Stage::Fit), "{order:?}");
}

fn failure(task: &Task) -> FailureRecord {
    FailureRecord {
        version: 1,
        task: task.id.clone(),
        stage: task.stage,
        shard: task.shard,
        inputs: task.inputs.clone(),
        error: "broken".to_owned(),
        attempts: 1,
        worker: String::new(),
        log: Vec::new(),
    }
}

/// Runs until fit tasks wait, and returns them.
fn fitting(graph: &mut StageGraph) -> Vec<Task> {
    for _ in 0..100 {
        for stage in graph.ready() {
            let plan = graph.plan(stage).unwrap();
            graph.start(plan);
        }
        let task = graph.pending().next().unwrap();
        if task.stage == Stage::Fit {
            return graph.pending().collect();
        }
        graph.commit(done(&task));
    }
    panic!("no fit task in 100 steps");
}

fn awaited(graph: &StageGraph) -> Vec<TaskId> {
    graph.running().flat_map(|(_, running)| running.awaited()).map(|(_, id)| id).collect()
}

#[test]
fn later_stages_go_on_without_what_failed() {
    let mut graph = graph(1);
    let tasks = fitting(&mut graph);
    assert_eq!(tasks.len(), 3);
    assert!(graph.give_up(failure(&tasks[0])));
    assert!(!graph.give_up(failure(&tasks[0])), "it is not waited for any more");
    graph.commit(done(&tasks[1]));
    graph.commit(done(&tasks[2]));
    let ended = graph.ended(Stage::Fit).unwrap();
    assert_eq!((ended.commits.len(), ended.failures.len()), (2, 1));
    let plan = graph.plan(Stage::Reduce).unwrap();
    assert_eq!(plan.source(Stage::Fit).unwrap().missing, [tasks[0].shard]);
    assert_eq!(graph.failures().count(), 1);
}

#[test]
fn another_attempt_may_still_do_what_failed() {
    let mut graph = graph(1);
    let tasks = fitting(&mut graph);
    assert!(graph.give_up(failure(&tasks[0])));
    assert!(awaited(&graph).contains(&tasks[0].id));
    tasks.iter().for_each(|task| graph.commit(done(task)));
    let ended = graph.ended(Stage::Fit).unwrap();
    assert_eq!((ended.commits.len(), ended.failures.len()), (3, 0));
}

#[test]
fn a_commit_that_was_seen_is_waited_for_until_it_is_taken_in() {
    let mut graph = graph(1);
    let tasks = fitting(&mut graph);
    let at = SystemTime::UNIX_EPOCH;
    let seen: Vec<_> = tasks.iter().map(|task| (task.shard, at)).collect();
    graph.see(Stage::Fit, &seen);
    assert_eq!((graph.pending().count(), graph.has_unread()), (0, true));
    assert!(graph.ended(Stage::Fit).is_none() && awaited(&graph).is_empty());
    graph.lose(Stage::Fit, tasks[0].shard);
    assert_eq!(graph.pending().collect::<Vec<_>>(), tasks[..1]);
    tasks.iter().for_each(|task| graph.commit(done(task)));
    assert_eq!(graph.commits(Stage::Fit).len(), 3);
}

#[test]
fn too_many_failures_and_those_of_early_stages_stop_the_campaign() {
    let mut graph = graph(1);
    let tasks = fitting(&mut graph);
    assert!(graph.give_up(failure(&tasks[0])) && graph.failure().is_none());
    assert!(graph.give_up(failure(&tasks[1])));
    let (stage, failed) = graph.failure().unwrap();
    assert_eq!(stage, Stage::Fit);
    let counts = graph.state(stage).counts();
    assert_eq!(counts, TaskCounts { done: 0, pending: 2, failed: 1 }, "it keeps what it knew");
    assert!(failed.reason.contains("execution.max_failed_tasks"), "{}", failed.reason);

    let mut graph = self::graph(1);
    let plan = graph.plan(Stage::Field).unwrap();
    graph.start(plan);
    let field = graph.pending().next().unwrap();
    assert!(graph.give_up(failure(&field)));
    assert!(graph.failure().unwrap().1.reason.contains("broken"));
}

#[test]
fn commits_of_other_tasks_change_nothing() {
    let mut graph = graph(0);
    let plan = graph.plan(Stage::Simulate).unwrap();
    graph.start(plan);
    let before = graph.pending().count();
    let mut foreign = done(&graph.pending().next().unwrap());
    foreign.task = TaskId::derive(
        &Digest::of(b"other"),
        Stage::Simulate,
        foreign.shard,
        &Digest::of(b"other"),
    );
    graph.commit(foreign);
    assert_eq!(graph.pending().count(), before);
}

#[test]
fn complete_groups_are_indexed_once() {
    let text = "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n\
                [simulate]\ncount = 8001\n[execution]\nsimulations_per_task = 4\n";
    let campaign = Campaign::parse(text, "a.toml", Path::new("."), &[]).unwrap();
    let campaign = ResolvedCampaign::new(campaign, Some(Digest::of(b"p")), None);
    let mut graph = StageGraph::new(campaign.clone());
    graph.start(graph.plan(Stage::Simulate).unwrap());
    let tasks: Vec<Task> = graph.pending().collect();
    // Two thousand of four, and one of one, whose group has another number.
    assert_eq!(tasks.len(), 2001);
    let mut indexes = Vec::new();
    for task in tasks.iter().rev() {
        graph.commit(done(task));
        while let Some(&(stage, group)) = graph.unindexed().last() {
            indexes.push(graph.index(stage, group).unwrap());
            graph.pop_unindexed();
        }
    }
    let sizes: Vec<_> = indexes.iter().map(|i| (i.group, i.commits.len())).collect();
    assert_eq!(sizes, [(8, 1), (1, 1000), (0, 1000)]);
    let shards = |index: &CommitIndex| index.commits.iter().map(|c| c.shard).collect::<Vec<_>>();
    assert_eq!(shards(&indexes[1]), tasks[1000..2000].iter().map(|t| t.shard).collect::<Vec<_>>());

    // A graph that finds two of them waits for their records, and asks for no others.
    let mut graph = StageGraph::new(campaign);
    graph.start(graph.plan(Stage::Simulate).unwrap());
    let at = SystemTime::UNIX_EPOCH;
    graph.see_indexes(Stage::Simulate, BTreeMap::from([(0, at), (8, at)]));
    assert_eq!(graph.pending().collect::<Vec<_>>(), tasks[1000..2000]);
    assert!(graph.has_unread());
    tasks.iter().for_each(|task| graph.commit(done(task)));
    assert_eq!(graph.unindexed(), [(Stage::Simulate, 1)]);
    assert_eq!(graph.commits(Stage::Simulate).len(), 2001);
}
