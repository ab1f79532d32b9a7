//! `outshine run`.

use super::Place;
use super::catalogue::Survey;
use anyhow::{Context, bail};
use clap::Args;
use outshine_broker::TaskQueue;
use outshine_coordinator::run::{Pace, run};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_coordinator::{database, export, failures, metrics, summary, view, words};
use outshine_database::Target;
use outshine_formats::Format;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::task::{Class, Stage};
use outshine_store::Store;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// As long as a worker's own.
const HANG_SECONDS: u64 = 900;
const PATIENCE_SECONDS: u64 = 300;
/// Failed tasks that a run lists at its end.
const FAILURES_LISTED: usize = 20;

/// Arguments of `outshine run`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Queue: memory, or amqp://user:password@host:5672/vhost or amqps://...
    #[arg(long, env = "OUTSHINE_QUEUE", default_value = "memory", hide_env_values = true)]
    queue: String,
    /// Tasks done at a time in this process [default: number of cores with the
    /// queue in memory, else 0: workers run elsewhere].
    #[arg(long, env = "OUTSHINE_WORKERS")]
    workers: Option<usize>,
    /// Classes whose tasks wait in a queue of their own, for workers started with
    /// `--class`: train.
    #[arg(long, env = "OUTSHINE_OWN_QUEUE", value_name = "CLASS", value_delimiter = ',')]
    own_queue: Vec<Class>,
    /// Copies the products to this folder at the end.
    #[arg(long, env = "OUTSHINE_EXPORT")]
    export: Option<std::path::PathBuf>,
    /// Loads the catalogue into this database when the campaign is complete:
    /// postgres://user@host:port/name. A password that is not in the URL comes
    /// from PGPASSWORD.
    #[arg(long, value_name = "URL", env = "OUTSHINE_DATABASE", hide_env_values = true)]
    database: Option<String>,
    #[command(flatten)]
    survey: Survey,
    /// Seconds that a store or broker that does not answer is waited for.
    #[arg(long, env = "OUTSHINE_PATIENCE_SECONDS", default_value_t = PATIENCE_SECONDS)]
    patience_seconds: u64,
    /// Seconds after which a task of this process that makes no progress counts
    /// as hung.
    #[arg(long, env = "OUTSHINE_HANG_SECONDS", default_value_t = HANG_SECONDS)]
    hang_seconds: u64,
    /// Address that answers /metrics, /health and /ready, such as 0.0.0.0:9090
    /// [default: none].
    #[arg(long, env = "OUTSHINE_HTTP")]
    http: Option<std::net::SocketAddr>,
    /// The last stage to run: field, simulate, train, calibrate, fit, reduce or
    /// catalogue. The same command without it goes on from there.
    #[arg(long, value_name = "STAGE", default_value = "catalogue", value_parser = stage)]
    until: Stage,
}

impl Arguments {
    /// A run on this machine alone, its products in a folder.
    #[cfg(feature = "local")]
    pub fn here(place: Place, export: std::path::PathBuf) -> Self {
        Self {
            place,
            queue: "memory".to_owned(),
            workers: None,
            own_queue: Vec::new(),
            export: Some(export),
            database: None,
            survey: Survey { survey: None },
            patience_seconds: PATIENCE_SECONDS,
            hang_seconds: HANG_SECONDS,
            http: None,
            until: Stage::Catalogue,
        }
    }
}

fn stage(name: &str) -> Result<Stage, String> {
    let names = Stage::ALL.map(|stage| stage.name()).join(", ");
    let found = Stage::ALL.into_iter().find(|stage| stage.name() == name);
    found.ok_or_else(|| format!("there is no stage `{name}`: {names}"))
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    if arguments.survey.survey.is_some() && arguments.database.is_none() {
        bail!("--survey (or OUTSHINE_SURVEY) is for a database: give --database, or leave it out");
    }
    // A campaign takes hours: what it needs at its end is looked at before.
    let database = match &arguments.database {
        None => None,
        Some(url) => {
            let target = Target::new(url).context("--database")?;
            outshine_database::check(&target).await?;
            Some(target)
        }
    };
    let (store, campaign) = arguments.place.open().await?;
    let sky = arguments.place.sky()?;
    let memory = arguments.queue.starts_with("memory");
    let queue = outshine_broker::open(&arguments.queue).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = arguments.workers.unwrap_or(if memory { cores } else { 0 });
    if memory && workers == 0 {
        bail!("--workers 0 with a queue in memory: nobody would do the tasks");
    }
    if memory && !arguments.own_queue.is_empty() {
        bail!("--own-queue with a queue in memory: no worker would take from it");
    }
    println!("campaign {}", campaign.id());
    if let Some(address) = arguments.http {
        outshine_observe::http::serve(address, Arc::new(metrics::Coordinator)).await?;
    }
    let pace = Pace {
        poll: Duration::from_millis(if memory { 100 } else { 500 }),
        patience: Duration::from_secs(arguments.patience_seconds),
        until: arguments.until,
    };
    let hang = Duration::from_secs(arguments.hang_seconds.max(1));
    let span = tracing::error_span!("run", campaign = campaign.id().as_str());
    let graph =
        drive(&store, (queue, &arguments.own_queue), (workers, hang), cores, &campaign, pace)
            .instrument(span)
            .await
            .with_context(|| {
                format!(
                    "campaign {} is not complete; the same command goes on from here",
                    campaign.id()
                )
            })?;
    let whole = graph.complete(Stage::Catalogue);
    if whole {
        println!("{}", summary::text(&store, &graph).await?);
    }
    for stage in Stage::ALL.into_iter().filter(|&stage| stage <= arguments.until) {
        let commits = graph.commits(stage);
        let seconds = words::seconds(commits);
        println!("{:>10}: {:>5} tasks, {seconds:>8.1} task seconds", stage.name(), commits.len());
    }
    println!("this run took {:.1} s", started.elapsed().as_secs_f64());
    if !whole {
        println!("complete up to stage {}", arguments.until);
    }
    if let Some(commit) = graph.commits(Stage::Catalogue).first() {
        for file in &commit.files {
            println!("{}: {}/{}", file.name, arguments.place.store, file.path);
        }
    }
    if let Some(folder) = &arguments.export {
        let count = export::export(&store, &graph, folder, &Format::ALL, &sky).await?;
        println!("{count} files in {}", folder.display());
    } else if whole {
        println!("`outshine catalogue export` copies catalogue, samples and model to a folder");
    }
    if database.is_some() && !whole {
        println!(
            "the database is not loaded: the campaign is complete up to stage {}; the same \
             command without --until loads it",
            arguments.until
        );
    }
    if let Some(target) = database.filter(|_| whole) {
        let survey = arguments.survey.survey.as_deref();
        let loaded = database::load(&store, &campaign, &graph, &target, survey, &sky).await;
        let loaded =
            loaded.context("the campaign is complete; the same command loads its catalogue")?;
        println!("{}", database::text(&target, &loaded));
    }
    lacking(&graph)
}

/// An error that says what a finished run had to do without, if anything.
fn lacking(graph: &StageGraph) -> anyhow::Result<()> {
    let count = graph.failures().count();
    if count == 0 {
        return Ok(());
    }
    for failure in graph.failures().take(FAILURES_LISTED) {
        println!("failed: {}", failures::text(failure));
    }
    if count > FAILURES_LISTED {
        println!("failed: and {} more", count - FAILURES_LISTED);
    }
    bail!(
        "{count} tasks failed, and the rest was finished without them: galaxies that they touch \
         have no mass and the flag TASK_FAILED. `outshine retry`, then the same command, tries \
         them again"
    )
}

#[cfg(feature = "local")]
async fn drive(
    store: &Store,
    (queue, own): (Arc<dyn TaskQueue>, &[Class]),
    (workers, hang): (usize, Duration),
    cores: usize,
    campaign: &ResolvedCampaign,
    pace: Pace,
) -> anyhow::Result<StageGraph> {
    use outshine_worker::runtime::{self, Settings, board::Board};
    use outshine_worker::stages::Stages;
    let board = Board::default();
    let settings = Settings {
        name: format!("local:{}", std::process::id()),
        slots: workers,
        threads: cores,
        patience: pace.patience,
        class: Class::Fit,
        hang,
        board: board.clone(),
        consumers: runtime::Consumers::default(),
        kernel: Arc::new(Stages::default()),
        new_id: runtime::random_ids(),
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut worker = tokio::spawn(runtime::run(queue.clone(), store.clone(), settings, stopped));
    let step: view::StepOf =
        Box::new(move |task| board.step(task).map(|step| (step.fraction, step.text)));
    let mut view = metrics::Measured::new(view::fitting(step));
    let running = run(store, queue, own, campaign, pace, &mut view);
    let result = tokio::select! {
        result = running => result.map_err(anyhow::Error::from),
        // Without workers of its own, the campaign waits for those elsewhere.
        ended = &mut worker, if workers > 0 => match ended? {
            Ok(()) => Err(anyhow::anyhow!("the workers ended before the campaign")),
            Err(error) => Err(error.into()),
        },
        () = outshine_observe::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    // Tasks in hand after a failure or an interrupt are not waited for: they
    // are not committed, and the next run does them again.
    let _ = stop.send(true);
    if result.is_ok() {
        worker.await??;
    }
    result
}

#[cfg(not(feature = "local"))]
async fn drive(
    store: &Store,
    (queue, own): (Arc<dyn TaskQueue>, &[Class]),
    (workers, _hang): (usize, Duration),
    _cores: usize,
    campaign: &ResolvedCampaign,
    pace: Pace,
) -> anyhow::Result<StageGraph> {
    if workers > 0 {
        bail!("--workers {workers}: this build has no worker linked in; start outshine-worker");
    }
    let mut view = metrics::Measured::new(view::fitting(Box::new(|_| None)));
    let running = run(store, queue, own, campaign, pace, &mut view);
    tokio::select! {
        result = running => Ok(result?),
        () = outshine_observe::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    }
}
