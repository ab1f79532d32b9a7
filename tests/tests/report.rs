//! The report of a campaign in a browser: whole, readable without a network, and
//! the same bytes from the same campaign.

use anyhow::{Context, ensure};
use async_trait::async_trait;
use outshine_schemas::task::Stage;
use outshine_tests::bench::Bench;
use outshine_tests::campaigns::{TINY, run_with, tiny};
use outshine_tests::processes::files;
use outshine_tests::reference;
use outshine_tests::servers::browser::{self, Visit};
use outshine_tests::servers::{or_skip, python};
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, Stages};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// The report of what there is, which must be well-formed and complete in
/// itself.
fn report(bench: &Bench, name: &str, more: &[&str]) -> anyhow::Result<(String, String)> {
    let path = bench.text(name);
    let mut all = vec!["--to", path.as_str()];
    all.extend(more);
    let said = bench.ok("report", &all)?;
    let html = std::fs::read_to_string(&path)?;
    is_complete_in_itself(&html)?;
    Ok((html, said))
}

/// Nothing to run and nothing to fetch.
fn is_complete_in_itself(html: &str) -> anyhow::Result<()> {
    for word in ["<script", "<iframe", "<object", "@import", "url(", "javascript:"] {
        ensure!(!html.contains(word), "`{word}` in the report");
    }
    for attribute in ["href=\"", "src=\""] {
        for (at, _) in html.match_indices(attribute) {
            let rest = &html[at + attribute.len()..];
            let inside = rest.starts_with('#') || rest.starts_with("data:");
            ensure!(inside, "{}", rest.chars().take(60).collect::<String>());
        }
    }
    Ok(())
}

/// Whether Python's reader of XML takes it.
fn is_well_formed(python: &Path, file: &Path) -> anyhow::Result<()> {
    let script = "import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])";
    let output = Command::new(python).args(["-c", script]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn opened(bench: &Bench, name: &str) -> anyhow::Result<Option<Visit>> {
    let Some(chromium) = or_skip(browser::chromium()) else { return Ok(None) };
    let picture = bench.path("picture.png");
    let visit = browser::visit(&chromium, &bench.path(name), &picture)?;
    ensure!(visit.console.is_empty(), "{:?}", visit.console);
    ensure!(visit.requests.is_empty(), "{:?}", visit.requests);
    ensure!(std::fs::metadata(&picture)?.len() > 50_000, "an empty picture");
    if let Some(folder) = std::env::var_os("OUTSHINE_PICTURES") {
        std::fs::copy(&picture, Path::new(&folder).join(format!("{name}.png")))?;
    }
    Ok(Some(visit))
}

/// A page with a fault of each kind: the checks of the other tests can fail.
#[test]
fn the_browser_tells_errors_and_requests() -> anyhow::Result<()> {
    let Some(chromium) = or_skip(browser::chromium()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("page.html");
    std::fs::write(
        &page,
        "<html><head><link rel=\"stylesheet\" href=\"https://outshine.invalid/b.css\"></head>\
         <body><p>hello</p><img src=\"http://outshine.invalid/a.png\">\
         <script>console.error('oh no')</script></body></html>",
    )?;
    let visit = browser::visit(&chromium, &page, &folder.path().join("picture.png"))?;
    ensure!(visit.dom.contains("<p>hello</p>"), "{}", visit.dom);
    ensure!(visit.console.iter().any(|line| line.contains("oh no")), "{:?}", visit.console);
    let asked = |url: &str| visit.requests.iter().any(|r| r == url);
    ensure!(asked("http://outshine.invalid/a.png"), "{:?}", visit.requests);
    ensure!(asked("https://outshine.invalid/b.css"), "{:?}", visit.requests);
    Ok(())
}

#[test]
fn a_campaign_has_a_report_that_a_browser_opens() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench =
        Bench::new(&TINY.replace("required = false", "required = false\ncross_prior = 200"))?;
    bench.ok("run", &[])?;
    let json = bench.text("report.json");
    let (html, said) = report(&bench, "report.html", &["--json", &json, "--panels", "2"])?;
    is_well_formed(&python, &bench.path("report.html"))?;
    ensure!(html.len() < 3_000_000, "{} bytes", html.len());
    for words in [
        "<title>Campaign tiny-",
        "id=\"section-1\">1. What was run",
        "2. Resolved and integrated masses",
        "3. The model",
        "4. Fitted pixels over mass and redshift",
        "5. Galaxies",
        "Simulation-based calibration",
        "TARP",
        "Fitted redshifts",
        "Cross-prior test",
        "Pixels of the mock against their truth",
        "fitted pixels, all those of mean S/N 1 or more.",
        "Widths of posteriors",
        "fitted pixels, all those of S/N above 0 in galaxies of known redshift. Bins of fewer than 10",
        "Posterior predictive checks",
        "No task failed.",
        "Galaxy ",
    ] {
        ensure!(html.contains(words), "`{words}` is not in the report");
    }
    ensure!(!html.contains("class=\"warning\">Not there yet"), "something is missing");
    ensure!(html.matches("colours, maps of medians").count() == 2, "two panels");

    // The figures that are cited are those of the catalogue.
    ensure!(said.contains("resolved \u{2212} integrated"), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    ensure!(json["calibration"]["cross_prior"]["simulations_of"] == "dirichlet", "{json}");
    let rows = json["masses"].as_array().context("no masses")?;
    ensure!(rows.len() == 12, "three comparisons, four populations: {}", rows.len());
    let count = |population: &str| {
        let row = rows
            .iter()
            .find(|r| r["comparison"] == "resolved - true" && r["population"] == population);
        row.and_then(|r| r["count"].as_u64()).unwrap_or(u64::MAX)
    };
    ensure!(count("all") == 6 && count("z < 3") + count("z >= 3") == 6, "{rows:?}");

    // Two pixels of each galaxy. An estimator of seconds of training is too wide for
    // pixels this bright (S/N of hundreds): the check tells.
    let checks = json["predictive_checks"].as_array().context("no checks")?;
    ensure!((3..=4).contains(&checks.len()), "{checks:?}");
    let p = |check: &serde_json::Value| check["p_value"].as_f64().unwrap_or(-1.0);
    ensure!(checks.iter().all(|check| (0.0..=1.0).contains(&p(check))), "{checks:?}");
    ensure!(checks.iter().any(|check| p(check) < 1e-3), "{checks:?}");
    ensure!(html.contains("&lt; 0.001"), "a small p-value");
    ensure!(html.matches("Observed and predicted fluxes of galaxy").count() == 2);

    // The same bytes again; and a galaxy by name.
    let before = files(&bench.path("store"))?;
    let (again, _) = report(&bench, "again.html", &["--panels", "2"])?;
    ensure!(html == again, "other bytes the second time");
    ensure!(before == files(&bench.path("store"))?, "the store was written to");
    let (alone, _) = report(&bench, "alone.html", &["--galaxy", "3"])?;
    ensure!(alone.contains("Galaxy 3, ") && alone.matches("maps of medians").count() == 1);

    let Some(visit) = opened(&bench, "report.html")? else { return Ok(()) };
    for words in ["<h1>Campaign tiny-", "Simulation-based calibration", "</svg>"] {
        ensure!(visit.dom.contains(words), "`{words}` is not in the page");
    }
    let drawn = |text: &str| text.matches("<svg").count();
    ensure!(drawn(&visit.dom) == drawn(&html), "figures were lost");
    Ok(())
}

#[test]
fn two_priors_on_the_same_galaxies_are_compared() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench = Bench::new(TINY)?;
    bench.ok("run", &[])?;
    let other = bench.text("campaign.toml");
    // Other draws of the same galaxies stand for another prior.
    bench.ok("run", &["--set", "fit.draws=60"])?;
    let json = bench.text("both.json");
    let more = ["--other", &other, "--other-set", "fit.draws=60", "--panels", "0", "--json", &json];
    let (html, said) = report(&bench, "both.html", &more)?;
    is_well_formed(&python, &bench.path("both.html"))?;
    ensure!(html.contains("6 of 6 galaxies are in both"), "the galaxies in both");
    ensure!(said.contains("resolved: this \u{2212} other"), "{said}");
    // Other draws: other medians, or a campaign was compared with itself.
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let rows = json["masses_between_campaigns"].as_array().context("no comparison")?;
    let is_it = |row: &&serde_json::Value| {
        row["comparison"] == "resolved: this - other" && row["population"] == "all"
    };
    let row = rows.iter().find(is_it).context("no resolved masses of all galaxies")?;
    ensure!(row["count"] == 6 && row["scatter_dex"].as_f64() > Some(0.0), "{row}");
    // Not of the same galaxies; not run; a typing error.
    let lighter = "field.mock.log_mass=[8.0,8.5]";
    bench.ok("run", &["--set", lighter])?;
    let to = bench.text("never.html");
    let refused = |setting: &str, words: &str| -> anyhow::Result<()> {
        let more = ["--to", &to, "--other", &other, "--other-set", setting];
        let error = bench.error("report", &more)?;
        ensure!(error.contains(words) && error.contains("--other"), "`{words}`: {error}");
        ensure!(!bench.path("never.html").exists(), "something was written");
        Ok(())
    };
    refused(lighter, "are not of the same galaxies")?;
    refused("seed=9", "is not in the store")?;
    refused("sed=9", "sed")?;
    Ok(())
}

#[test]
fn a_report_says_what_is_missing() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench = Bench::new(TINY)?;
    let to = bench.text("report.html");
    let error = bench.error("report", &["--to", &to])?;
    ensure!(error.contains("run campaign tiny-"), "{error}");
    ensure!(!bench.path("store").exists() && !bench.path("report.html").exists());
    bench.ok("run", &["--until", "field"])?;
    let (html, _) = report(&bench, "report.html", &[])?;
    ensure!(html.contains("The campaign is not complete"), "what is missing");
    for stage in ["calibrate", "fit", "catalogue"] {
        let words = format!("Not there yet: stage {stage} is not complete");
        ensure!(html.contains(&words), "`{words}`");
    }
    is_well_formed(&python, &bench.path("report.html"))?;
    // After the fit: pixels, and a galaxy by name, but no masses yet.
    bench.ok("run", &["--until", "fit"])?;
    let (html, _) = report(&bench, "report.html", &["--galaxy", "2"])?;
    ensure!(html.contains("Flags of pixels") && html.contains("Widths of posteriors"));
    ensure!(html.contains("Not there yet: stage catalogue") && html.contains("Galaxy 2, "));
    is_well_formed(&python, &bench.path("report.html"))?;
    opened(&bench, "report.html")?;
    // What cannot be: a galaxy that is not there, a folder that cannot be written.
    let error = bench.error("report", &["--to", &bench.text("x.html"), "--galaxy", "77"])?;
    ensure!(error.contains("--galaxy 77: not among the 6 galaxies"), "{error}");
    let error = bench.error("report", &["--to", "/proc/outshine/report.html"])?;
    ensure!(error.contains("/proc/outshine"), "{error}");
    // A damaged object is named.
    let name = bench.damage("/calibration.parquet")?;
    let error = bench.error("report", &["--to", &bench.text("x.html")])?;
    ensure!(error.contains(name.as_str()), "{error}");
    ensure!(!bench.path("x.html").exists(), "something was written");
    Ok(())
}

/// An error with words that are markup elsewhere.
const MARKUP: &str = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>&\u{1}";

/// The science, but for a task that fails.
struct OneFails(Stages);

#[async_trait]
impl Kernel for OneFails {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        if assignment.task.stage == Stage::Fit && assignment.task.shard.start == 0 {
            return Err(StageError::Permanent(MARKUP.to_owned()));
        }
        self.0.run(assignment).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn galaxies_that_lack_are_named_and_words_of_errors_stay_words() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench = Bench::new(TINY)?;
    let store = outshine_store::open(&bench.text("store")).await?;
    let kernel = Arc::new(OneFails(Stages::default()));
    run_with(&store, tiny(&[])?, kernel).await?.graph()?;
    let (html, _) = report(&bench, "report.html", &[])?;
    is_well_formed(&python, &bench.path("report.html"))?;
    ensure!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the error");
    ensure!(html.contains("TASK_FAILED") && html.contains("Without a resolved mass: galax"));
    ensure!(html.contains("failed: `outshine retry` repeats them"), "which galaxies");
    // One whose pixels the task was of, and one that has all of its own.
    let (lacks, _) = report(&bench, "lacks.html", &["--galaxy", "1"])?;
    ensure!(lacks.contains("`outshine retry` tries them again"), "what to do");
    let (whole, _) = report(&bench, "whole.html", &["--galaxy", "6"])?;
    ensure!(!whole.contains("tries them again"), "nothing to do");
    let Some(visit) = opened(&bench, "report.html")? else { return Ok(()) };
    ensure!(!visit.dom.contains("<script") && visit.dom.contains("&lt;script&gt;"));
    Ok(())
}

/// Real JADES pixels, where the reference data lie beside the project.
#[test]
fn the_cutout_has_a_report() -> anyhow::Result<()> {
    let pixels = reference::file("jades_gs_cutout_pixels.parquet");
    let sources = reference::file("jades_gs_cutout_sources.parquet");
    let (Some(pixels), Some(sources)) = (pixels, sources) else { return Ok(()) };
    let campaign = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/campaigns/jades-cutout.toml");
    let bench = Bench::new(&std::fs::read_to_string(campaign)?)?;
    let settings = [
        format!("field.pixels={}", pixels.display()),
        format!("field.sources={}", sources.display()),
        "calibrate.count=200".to_owned(),
        "calibrate.draws=99".to_owned(),
        "calibrate.required=false".to_owned(),
        "fit.draws=50".to_owned(),
    ];
    let set: Vec<&str> = settings.iter().flat_map(|s| ["--set", s.as_str()]).collect();
    bench.ok("run", &set)?;
    let (html, said) = report(&bench, "cutout.html", &set)?;
    ensure!(html.contains("REDSHIFT_OUT_OF_RANGE") && html.contains("183348"), "what is lacking");
    ensure!(!html.contains("against their truth"), "there is no truth");
    ensure!(said.contains("below 1e8 Msun") && !said.contains("true"), "{said}");
    opened(&bench, "cutout.html")?;
    Ok(())
}
