//! The card of an estimator: what it is of, how it was trained, how far to
//! trust it.

use crate::stages::StageError;
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use outshine_npe::Model;
use outshine_schemas::campaign::MODEL_FILES;
use outshine_store::{Table, parquet};
use std::fmt::Write;
use std::path::Path;

/// Calibrations beside a model, each of which may be missing.
const CALIBRATIONS: [&str; 2] = ["calibration.parquet", "calibration-redshift.parquet"];

fn input(file: &Path, problem: impl ToString) -> StageError {
    StageError::Input { file: file.display().to_string(), problem: problem.to_string() }
}

/// The estimator of a folder of `model.json` and `model.safetensors`, and the
/// size of its weights in bytes.
///
/// # Errors
/// [`StageError`] naming the file.
pub fn read_model(folder: &Path) -> Result<(Model, usize), StageError> {
    let [description, weights] = MODEL_FILES.map(|name| folder.join(name));
    let json = std::fs::read_to_string(&description).map_err(|e| input(&description, e))?;
    let bytes = std::fs::read(&weights).map_err(|e| input(&weights, e))?;
    let model = Model::from_parts(&json, &bytes).map_err(|e| input(folder, e))?;
    Ok((model, bytes.len()))
}

/// The card of a folder of `model.json`, `model.safetensors` and, where the
/// model was calibrated, `calibration.parquet` and `calibration-redshift.parquet`.
///
/// # Errors
/// [`StageError`] naming the file.
pub fn card(folder: &Path) -> Result<String, StageError> {
    let (model, bytes) = read_model(folder)?;
    let mut text = String::new();
    describe(&model, bytes, &mut text);
    for (name, show) in CALIBRATIONS.into_iter().zip([pixels, redshifts]) {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let table = parquet::decode(name, bytes.into(), None)?;
                show(&table, &mut text)?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                line(&mut text, name, "missing: this was not measured");
            }
            Err(e) => return Err(input(&path, e)),
        }
    }
    Ok(text)
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _infallible = writeln!(text, "{name:22} {value}");
}

fn describe(model: &Model, bytes: usize, text: &mut String) {
    let training = model.training();
    let (low, high) = model.redshift_range();
    let free = if model.knows_redshift() { "known or free" } else { "known" };
    line(text, "bands", model.features().bands().join(" "));
    line(text, "redshift", format!("{low} to {high}, {free}"));
    let c = model.coordinates();
    for ((name, low), high) in c.names().iter().zip(c.low()).zip(c.high()) {
        line(text, name, format!("{low} to {high}"));
    }
    line(text, "weights", format!("{} in {bytes} bytes", model.weight_count()));
    line(
        text,
        "training",
        format!(
            "epoch {} of {}, {} simulations each; validation loss {:.4} nat",
            training.best_epoch, training.epochs, training.examples, training.validation_loss
        ),
    );
    let tilt = model.recalibration().map_or("none".to_owned(), |recalibration| {
        let (snr, strength) = recalibration.reach();
        format!("of objects above S/N {snr:.1}, by strengths up to {strength:.2}")
    });
    line(text, "recalibration", tilt);
    let config = serde_json::to_string(&training.config).unwrap_or_default();
    line(text, "settings", config);
    for (key, value) in model.provenance() {
        line(text, key.trim_start_matches("outshine."), value);
    }
}

/// Overall, integrated, and the worst stratum of each parameter.
fn pixels(table: &Table, text: &mut String) -> Result<(), StageError> {
    let population = table.column("population")?.as_string::<i32>().clone();
    let parameter = table.column("parameter")?.as_string::<i32>().clone();
    let count = table.number::<UInt64Type>("simulations")?;
    let names = ["coverage_50", "coverage_68", "coverage_95", "sbc_ks"];
    let columns: Result<Vec<_>, _> = names.iter().map(|name| table.float64(name)).collect();
    let (columns, r_squared) = (columns?, table.float64("r_squared")?);
    let nominal = [0.50, 0.68, 0.95];
    let off = |row: usize| {
        let each = (0..3).map(|k| (columns[k].value(row) - nominal[k]).abs());
        each.fold(0.0, f64::max)
    };
    let _infallible = writeln!(
        text,
        "\n{:12} {:22} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "population", "parameter", "tests", "R^2", "50 %", "68 %", "95 %", "SBC"
    );
    for row in 0..table.rows() {
        if !["pixel", "integrated"].contains(&population.value(row)) || columns[0].is_null(row) {
            continue;
        }
        let figure = |c: &arrow::array::Float64Array| match c.is_null(row) {
            true => format!("{:>7}", "-"),
            false => format!("{:7.3}", c.value(row)),
        };
        let figures: Vec<String> =
            std::iter::once(&r_squared).chain(&columns).map(figure).collect();
        let _infallible = writeln!(
            text,
            "{:12} {:22} {:9} {}",
            population.value(row),
            parameter.value(row),
            count.value(row),
            figures.join(" ")
        );
    }
    let strata = (0..table.rows()).filter(|&row| {
        !["pixel", "integrated"].contains(&population.value(row)) && !columns[0].is_null(row)
    });
    if let Some(worst) = strata.max_by(|&a, &b| off(a).total_cmp(&off(b))) {
        let _infallible = writeln!(
            text,
            "worst coverage of a stratum: {:.3} off ({}, {}, {} tests)",
            off(worst),
            parameter.value(worst),
            population.value(worst),
            count.value(worst)
        );
    }
    Ok(())
}

fn redshifts(table: &Table, text: &mut String) -> Result<(), StageError> {
    let count = table.number::<UInt64Type>("simulations")?;
    let of = |name: &str| Ok::<f64, StageError>(table.float64(name)?.value(0));
    if table.rows() == 0 {
        return Ok(());
    }
    let _infallible = writeln!(
        text,
        "\nfree redshift, mean S/N > 5: {} tests, sigma_NMAD {:.4}, outliers {:.1} %, bias {:+.4}, PIT {:.3} from uniform",
        count.value(0),
        of("sigma_nmad")?,
        100.0 * of("outlier_fraction")?,
        of("bias")?,
        of("pit_ks")?
    );
    Ok(())
}
