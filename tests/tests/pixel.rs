//! What was inferred of pixels that a user names: draws from where they are stored and
//! made again, beside another campaign and another sampler, and bad input.

use anyhow::{Context, ensure};
use arrow::array::{
    Array, ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
};
use outshine_schemas::campaign::Campaign;
use outshine_schemas::task::{Stage, Task};
use outshine_store::{Table, parquet};
use outshine_tests::bench::Bench;
use outshine_tests::campaigns::run_here;
use outshine_tests::processes::{files, outshine_ok};
use outshine_worker::runtime::board::Board;
use outshine_worker::runtime::{Assignment, Plans};
use outshine_worker::stages::again::{self, Spot};
use outshine_worker::stages::{Job, Science};
use std::path::Path;
use std::sync::Arc;

const MOCK: &str = r#"
name = "pixel"
seed = 5

[field.mock]
kind = "structured"
galaxies = 2
columns = 2
stamp = 30
redshift = [1.0, 3.0]
log_mass = [8.0, 8.8]
radius_pixels = [3.0, 4.0]

[calibrate]
count = 200
draws = 99
required = false

[fit]
draws = 60
redshifts = 5
"#;

/// `outshine pixel` fails, says `words` and writes nothing.
fn refused(bench: &Bench, more: &[&str], words: &str) -> anyhow::Result<()> {
    let to = bench.text("refused");
    let error = bench.error("pixel", &[more, &["--to", &to]].concat())?;
    ensure!(error.contains(words), "`{words}` is not in: {error}");
    ensure!(!error.contains("panicked"), "{error}");
    ensure!(!bench.path("refused").exists(), "something was written");
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Table> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(parquet::decode(&path.display().to_string(), bytes.into(), None)?)
}

fn folders(path: &Path) -> anyhow::Result<Vec<String>> {
    let all = files(path)?;
    let names = all.keys().filter_map(|name| name.strip_suffix("/draws.parquet"));
    Ok(names.map(str::to_owned).collect())
}

/// Draws that were stored (rounded together with their block's) and made again are the
/// same within the rounding; and not bit for bit, or one of them was not what it says.
fn same_draws(stored: &Path, again: &Path) -> anyhow::Result<()> {
    let (stored, again) = (read(stored)?, read(again)?);
    let mut rounded = 0;
    for field in stored.schema().fields() {
        let name = field.name();
        let (a, b) = (stored.float64(name)?, again.float64(name)?);
        ensure!(a.len() == 60 && b.len() == 60, "{name}: {} and {}", a.len(), b.len());
        let mean = b.values().iter().sum::<f64>() / 60.0;
        let variance = b.values().iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 60.0;
        for (a, b) in a.values().iter().zip(b.values()) {
            ensure!((a - b).abs() <= 0.02 * variance.sqrt() + 1e-6 * a.abs(), "{name}: {a}, {b}");
            rounded += usize::from(a != b);
        }
    }
    ensure!(rounded > 100, "only {rounded} draws were rounded: both were made the same way");
    Ok(())
}

/// Fluxes of the draws come as close to what was observed as noise lets them: chi^2 of 12
/// to 19 bands less at most 8 parameters is 4 to 15 on average, and beyond 60 with a
/// probability of 10^-6; a factor of 1.5 in the fluxes of the brightest pixel would give
/// hundreds.
fn check_predictive(folder: &Path, all: &Path) -> anyhow::Result<()> {
    let (bands, pixels) = (read(&folder.join("predictive.parquet"))?, read(all)?);
    let csv = std::fs::read_to_string(folder.join("predictive.csv"))?;
    ensure!(bands.rows() == 19 && csv.lines().count() == 20, "{csv}");
    ensure!(csv.starts_with("galaxy_id,x,y,band,pivot_um,flux_njy,err_njy,model_njy_p02"), "{csv}");
    let levels =
        ["p02", "p16", "p50", "p84", "p97"].map(|p| bands.float64(&format!("model_njy_{p}")));
    let levels: Vec<Float64Array> = levels.into_iter().collect::<Result<_, _>>()?;
    for band in 0..19 {
        ensure!(levels.windows(2).all(|l| l[0].value(band) <= l[1].value(band)), "band {band}");
    }
    let (flux, err) = (bands.float64("flux_njy")?, bands.float64("err_njy")?);
    let residual = bands.float64("residual_sigma")?;
    let mut chi_square = 0.0;
    let observed: Vec<usize> = (0..19).filter(|&band| flux.is_valid(band)).collect();
    ensure!(observed.len() >= 12, "{observed:?}");
    for &band in &observed {
        let sigma = (flux.value(band) - levels[2].value(band)) / err.value(band);
        let own = residual.value(band);
        ensure!((sigma - own).abs() < 1e-9 * (1.0 + own.abs()), "band {band}: {sigma}, {own}");
        chi_square += sigma * sigma;
    }
    ensure!((1.0..60.0).contains(&chi_square), "chi^2 of the medians is {chi_square}");
    let p = pixels.float64("p_value")?;
    ensure!(p.iter().all(|p| p.is_some_and(|p| (1e-3..1.0).contains(&p))), "{p:?}");
    let (x, y) = (bands.int32("x")?.value(0), bands.int32("y")?.value(0));
    let (xs, ys) = (pixels.int32("x")?, pixels.int32("y")?);
    let row = (0..pixels.rows()).find(|&row| xs.value(row) == x && ys.value(row) == y);
    let row = row.context("the pixel has no row")?;
    ensure!(p.value(row) == bands.float64("p_value")?.value(7));
    ensure!(pixels.float64("chi_square_least")?.value(row) > 0.0);
    Ok(())
}

#[test]
fn stored_draws_and_those_made_again_agree_in_both_families() -> anyhow::Result<()> {
    for family in ["tau", "dirichlet"] {
        let bench = Bench::new(&format!("{MOCK}\n[prior]\nsfh = \"{family}\"\n"))?;
        let which = ["--galaxy", "2", "--brightest", "--outside", "--to"];
        for keep in ["all", "none"] {
            let setting = format!("fit.keep=\"{keep}\"");
            bench.ok("run", &["--set", &setting])?;
            let to = bench.text(keep);
            let mut more = which.to_vec();
            more.extend([to.as_str(), "--set", &setting]);
            let said = bench.ok("pixel", &more)?;
            ensure!(said.lines().count() == 2 && said.contains("smallest chi^2"), "{said}");
            let first = files(&bench.path(keep))?;
            if keep == "none" {
                // The same bytes again.
                bench.ok("pixel", &more)?;
                ensure!(first == files(&bench.path(keep))?, "other bytes the second time");
            }
            ensure!(first.len() == 2 * 9 + 1, "{:?}", first.keys());
            ensure!(!first.keys().any(|name| name.contains("partial")), "half-written files");
        }
        let (all, none) = (bench.path("all"), bench.path("none"));
        let names = folders(&all)?;
        ensure!(names.len() == 2 && names == folders(&none)?, "{names:?}");
        for name in names {
            same_draws(
                &all.join(&name).join("draws.parquet"),
                &none.join(&name).join("draws.parquet"),
            )?;
            for to in [&all, &none] {
                check_predictive(&to.join(&name), &to.join("predictive.parquet"))?;
                let svg = std::fs::read_to_string(to.join(&name).join("corner.svg"))?;
                ensure!(svg.contains("truth") && svg.contains("60 draws"), "{name}: no truth");
                let svg = std::fs::read_to_string(to.join(&name).join("history.svg"))?;
                ensure!(svg.contains("lookback time") && svg.contains("truth"), "{name}");
                ensure!((family == "dirichlet") == svg.contains("approximate"), "{name}");
            }
        }
    }
    Ok(())
}

/// Draws that come out otherwise than they were summarised are refused.
#[tokio::test(flavor = "multi_thread")]
async fn other_draws_are_refused() -> anyhow::Result<()> {
    let campaign = Campaign::parse(
        MOCK,
        "c.toml",
        Path::new("."),
        &["fit.keep=\"none\"".to_owned(), "field.mock.galaxies=1".to_owned()],
    )?;
    let store = outshine_store::open("memory:").await?;
    let ran = run_here(&store, campaign, 2).await?;
    let mut campaign = ran.campaign.clone();
    let graph = ran.graph()?;
    let commit = &graph.commits(Stage::Fit)[0];
    let summaries = commit.file("summaries.parquet").context("no summaries")?;
    let bytes = outshine_store::commit::read_file(&store, summaries).await?;
    let table = parquet::decode("summaries", bytes, None)?;
    let median = table.float64("a_v_p50")?;
    let row = (0..table.rows()).find(|&row| median.is_valid(row)).context("none is fitted")?;
    let (x, y) = (table.int32("x")?.value(row), table.int32("y")?.value(row));
    let spot = Spot { galaxy_id: table.int64("galaxy_id")?.value(row), x, y };
    let (id, digest) = (campaign.id(), campaign.digest());
    for other in [0, 1] {
        campaign.campaign.seed += other;
        let inputs = commit.inputs.clone();
        let assignment = Assignment {
            store: store.clone(),
            task: Task::new(id.clone(), digest.clone(), Stage::Fit, commit.shard, inputs),
            campaign: Arc::new(campaign.clone()),
            threads: 1,
            board: Board::default(),
            plans: Plans::default(),
        };
        let science = Arc::new(Science::new(&campaign.campaign)?);
        let inferred = again::infer(&Job { assignment, science }, commit, spot).await;
        match (other, inferred) {
            (0, Ok(inferred)) => ensure!(inferred.again && inferred.draws.of("a_v").len() == 60),
            (1, Err(error)) => {
                let error = error.to_string();
                ensure!(error.contains("draws made again have `"), "{error}");
                ensure!(error.contains(&commit.code_version), "{error}");
            }
            (_, Ok(_)) => anyhow::bail!("other draws were taken"),
            (_, Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

const BANDS: [&str; 6] = ["f090w", "f115w", "f200w", "f277w", "f356w", "f444w"];
const FLUX: [f32; 6] = [3.1, 4.0, 6.4, 7.9, 8.3, 8.6];

/// Galaxy 1 has a redshift, galaxy 2 none; its last pixel is dark.
fn pixels(path: &Path, factor: f32) -> anyhow::Result<()> {
    let of = |i: usize| (1 + (i / 6) as i64, (i % 6) as i32, if i == 11 { 0.01 } else { factor });
    let n = 12;
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("galaxy_id".into(), Arc::new(Int64Array::from_iter_values((0..n).map(|i| of(i).0)))),
        ("x".into(), Arc::new(Int32Array::from_iter_values((0..n).map(|i| of(i).1)))),
        ("y".into(), Arc::new(Int32Array::from_iter_values((0..n).map(|i| 2 + of(i).0 as i32)))),
        (
            "redshift".into(),
            Arc::new(Float64Array::from_iter((0..n).map(|i| (i < 6).then_some(1.5)))),
        ),
    ];
    for (band, flux) in BANDS.iter().zip(FLUX) {
        let fluxes = (0..n).map(|i| flux * of(i).2 * (1.0 + 0.5 * (i % 6) as f32));
        columns
            .push((format!("flux_njy_{band}"), Arc::new(Float32Array::from_iter_values(fluxes))));
        let errors = Float32Array::from_iter_values((0..n).map(|_| 0.3f32));
        columns.push((format!("err_njy_{band}"), Arc::new(errors)));
    }
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 1000)?)?)
}

fn samples(path: &Path, columns: &[(&str, Vec<f64>)]) -> anyhow::Result<()> {
    let columns = columns.iter().map(|(name, values)| {
        let column: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        (*name, column)
    });
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 1000)?)?)
}

#[test]
fn another_campaign_and_another_sampler_are_laid_over_and_bad_input_is_named() -> anyhow::Result<()>
{
    let bands: Vec<String> = BANDS.iter().map(|b| format!("\"{b}\"")).collect();
    let campaign = format!(
        "name = \"own\"\nbands = [{}]\n[field]\npixels = \"pixels.parquet\"\n\
         [calibrate]\ncount = 200\ndraws = 99\nrequired = false\n[fit]\ndraws = 40\nredshifts = 5\n",
        bands.join(", ")
    );
    let bench = Bench::new(&campaign)?;
    let other = campaign.replace("\"own\"", "\"free\"");
    std::fs::write(bench.path("other.toml"), format!("{other}[prior]\nsfh = \"dirichlet\"\n"))?;
    pixels(&bench.path("pixels.parquet"), 1.0)?;
    refused(&bench, &["--galaxy", "1", "--brightest"], "there is no folder")?;
    bench.ok("run", &["--until", "field"])?;
    refused(&bench, &["--galaxy", "1", "--at", "2,3"], "`outshine run` goes on")?;
    refused(&bench, &["--galaxy", "1", "--brightest"], "are not fitted: `outshine run` goes on")?;
    bench.ok("run", &[])?;
    let (other, store) = (bench.text("other.toml"), bench.text("store"));
    let compared = ["--galaxy", "1", "--at", "2,3", "--other", &other];
    refused(&bench, &compared, "is not in the store")?;
    outshine_ok(&["run", &other, "--store", &store], &[])?;

    // A sampler that knows mass and attenuation, in other columns of its own too.
    let wave = |mid: f64| (0..50).map(|i| mid + 0.1 * f64::from(i % 9)).collect::<Vec<f64>>();
    let external = bench.text("samples.parquet");
    let good = [("log_mass_stellar", wave(7.9)), ("a_v", wave(0.4)), ("log_z", wave(f64::NAN))];
    samples(Path::new(&external), &good)?;
    let to = bench.text("out");
    let mut more = compared.to_vec();
    more.extend(["--external", &external, "--to", &to]);
    bench.ok("pixel", &more)?;
    let svg = |name: &str| std::fs::read_to_string(bench.path("out/galaxy-1-2-3").join(name));
    let corner = svg("corner.svg")?;
    for words in ["tau-delayed (own)", "Dirichlet (free)", "samples.parquet"] {
        ensure!(corner.contains(words), "`{words}` is not in the corner plot");
    }
    // What both families have, and no truth of what was observed.
    ensure!(!corner.contains("t<tspan") && !corner.contains("truth"), "not shared");
    let history = svg("history.svg")?;
    ensure!(history.contains("tau-delayed (own)") && history.contains("Dirichlet (free)"));
    // Unknown redshifts, of both families.
    bench.ok("pixel", &["--galaxy", "2", "--brightest", "--to", &to])?;
    let free = ["pixel", &other, "--store", &store, "--galaxy", "2", "--brightest", "--to"];
    outshine_ok(&[&free[..], &[&bench.text("free")]].concat(), &[])?;
    for folder in ["out", "free"] {
        let corner = bench.path(folder).join("galaxy-2-4-4/corner.svg");
        let corner = std::fs::read_to_string(corner)?;
        ensure!(corner.contains("median z = ") && corner.contains(">\nredshift\n<"), "{folder}");
    }

    refused(&bench, &["--galaxy", "7", "--brightest"], "--galaxy 7: not among the 2 galaxies")?;
    let outside = ["--galaxy", "1", "--at", "9,3"];
    refused(&bench, &outside, "none of the galaxy's 6 pixels, which span")?;
    refused(&bench, &["--galaxy", "2", "--at", "5,4"], "was not fitted: LOW_SNR (mean S/N below")?;
    refused(&bench, &["--galaxy", "1", "--galaxy", "2", "--at", "1,3"], "give one --galaxy")?;
    refused(&bench, &["--galaxy", "1", "--at", "1;3"], "give column and row")?;
    refused(&bench, &["--galaxy", "1"], "--brightest")?;
    let bad = |columns: &[(&str, Vec<f64>)], words: &str| -> anyhow::Result<()> {
        samples(Path::new(&external), columns)?;
        let more = ["--galaxy", "1", "--at", "2,3", "--external", &external];
        refused(&bench, &more, words)?;
        refused(&bench, &more, "samples.parquet")
    };
    let mut holed = wave(7.9);
    holed[17] = f64::NAN;
    bad(&[("log_mass_stellar", holed)], "column `log_mass_stellar`, row 17: no finite number")?;
    bad(&[("mass", wave(7.9))], "has none of the columns that the figure shows")?;
    bad(&[("a_v", vec![0.1, 0.2])], "2 rows: give a row per draw")?;
    std::fs::write(&external, "no table")?;
    refused(&bench, &["--galaxy", "1", "--at", "2,3", "--external", &external], "samples.parquet")?;
    let nothing = bench.text("nothing.parquet");
    refused(&bench, &["--galaxy", "1", "--at", "2,3", "--external", &nothing], "nothing.parquet")?;
    let two = ["--galaxy", "1", "--brightest", "--outside", "--external", &external];
    refused(&bench, &two, "--external has the draws of one pixel")?;
    // A file where a folder should be, and a place that nobody can write to.
    std::fs::write(bench.path("file"), "")?;
    for to in [bench.text("file"), "/proc/outshine-pixel".to_owned()] {
        let error = bench.error("pixel", &["--galaxy", "1", "--at", "2,3", "--to", &to])?;
        ensure!(error.contains(&to) && error.contains("name a folder"), "{error}");
    }
    // A campaign of other fluxes.
    pixels(&bench.path("brighter.parquet"), 1.1)?;
    let text =
        campaign.replace("pixels.parquet", "brighter.parquet").replace("\"own\"", "\"more\"");
    std::fs::write(bench.path("more.toml"), text)?;
    let more = bench.text("more.toml");
    outshine_ok(&["run", &more, "--store", &store], &[])?;
    refused(&bench, &["--galaxy", "1", "--at", "2,3", "--other", &more], "of the same pixel table")
}
