//! The forward model against 1,000 simulations made with FSPS: what the test
//! and the example `compare_fsps` share. `docs/fsps.md` explains each choice.
//!
//! The files give what their pipeline wrote; brought to our terms here:
//!
//! - fluxes of the tau file lack the 1 + z of f_nu;
//! - fluxes of the Dirichlet file took the Sun for 3.48e33 erg/s;
//! - `dust2` is an optical depth at 5500 A: A_V = 2.5 log10(e) `dust2`;
//! - [M/H] is relative to Z = 0.0142, ours to 0.02: equal Z is compared;
//! - light per mass formed is that of a Chabrier IMF, ours of Kroupa's;
//! - t25, t50 and t75 of the Dirichlet file are what was asked. Ours is asked
//!   the same and realises the same curve: its t50 is compared with `rec_t50`.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use outshine_sps::{
    Components, FilterSet, ForwardModel, Frame, IgmModel, ModelOptions, Parameters, Realised, Sfh,
    SspLibrary, cosmology,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::PathBuf;
use std::sync::Arc;

/// Edges of the redshift bins.
pub const REDSHIFT_EDGES: [f64; 7] = [0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 7.5];
/// Bands fainter than this part of the row's brightest band are left out.
const FAINTEST: f64 = 1e-3;
/// log10 of MIST's solar metallicity (0.0142) over ours (0.02).
const LOG_SOLAR_RATIO: f64 = -0.148_741_651_280_924_6;
/// A_V per optical depth: 2.5 log10(e).
const MAG_PER_DEPTH: f64 = 1.085_736_204_758_129_6;
/// Lsun (erg/s) of FSPS's spectra over the one the Dirichlet file was made with.
const LSUN_RATIO: f64 = 3.828 / 3.48;

/// Light per mass formed, Chabrier's IMF over Kroupa's, mag: a mass ratio of 0.93.
const IMF_MAG: f64 = 0.08;

/// Where a band lies at rest, by its pivot wavelength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// Blueward of Lyman alpha.
    Forest,
    /// From Lyman alpha to 4000 A.
    Ultraviolet,
    /// Redward of 4000 A.
    Optical,
}

impl Region {
    pub const ALL: [Self; 3] = [Self::Forest, Self::Ultraviolet, Self::Optical];

    fn of(rest_angstrom: f64) -> Self {
        match rest_angstrom {
            r if r < 1215.67 => Self::Forest,
            r if r < 4000.0 => Self::Ultraviolet,
            _ => Self::Optical,
        }
    }
}

/// One simulation of the reference.
pub struct Row {
    pub parameters: Parameters,
    /// One per band, mended as above.
    pub flux_njy: Vec<f64>,
    pub log_mass_stellar: f64,
    /// Dirichlet: fraction of the cosmic age by which half of the mass had formed.
    pub t50: Option<f64>,
}

/// The simulations of a file that can be compared.
pub struct Sample {
    /// `tau`, `dirichlet`, or `dirichlet_prior`: the Dirichlet rows whose
    /// requested log sSFR lies in the prior of the paper.
    pub name: &'static str,
    pub rows: Vec<Row>,
    /// Rows left out because the history is not what was asked for.
    pub unsound: usize,
    /// Rows left out because their metallicity lies outside our library.
    pub outside: usize,
}

/// Median, scatter (half of the 84th minus the 16th percentile) and number of
/// differences, ours minus FSPS.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub scatter: f64,
    pub n: usize,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        if n == 0 {
            return Self { median: f64::NAN, scatter: f64::NAN, n };
        }
        let quantile = |q: f64| {
            let at = q * (n - 1) as f64;
            let low = at as usize;
            let high = (low + 1).min(n - 1);
            values[low] + (at - low as f64) * (values[high] - values[low])
        };
        let scatter = 0.5 * (quantile(0.84) - quantile(0.16));
        Self { median: quantile(0.5), scatter, n }
    }
}

/// Magnitude differences (at equal IMF) of one band, redshift bin and region.
pub struct Cell {
    pub band: String,
    /// Index of the redshift bin.
    pub bin: usize,
    pub region: Region,
    /// Median pivot wavelength at rest, Angstrom.
    pub rest_angstrom: f64,
    /// mag.
    pub spread: Spread,
}

/// One sample against the model with one IGM.
pub struct Comparison {
    pub cells: Vec<Cell>,
    /// Per region and redshift bin, all bands pooled, mag; empty ones too.
    pub pooled: Vec<(Region, usize, Spread)>,
    /// log surviving mass, dex.
    pub mass: Spread,
    /// Realised t50 of the Dirichlet rows.
    pub t50: Spread,
}

/// The samples; `None`, said aloud, where a file is absent.
pub fn samples(set: &FilterSet, library: &SspLibrary) -> Option<Vec<Sample>> {
    let folder = std::env::var_os("OUTSHINE_REFERENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"),
        PathBuf::from,
    );
    let mut samples = Vec::new();
    for name in ["tau", "dirichlet"] {
        let path = folder.join(format!("fsps_{name}.parquet"));
        let Ok(file) = std::fs::File::open(&path) else {
            println!("SKIPPED: no {} (set OUTSHINE_REFERENCE)", path.display());
            return None;
        };
        let mut all = Sample { name, rows: Vec::new(), unsound: 0, outside: 0 };
        let mut prior =
            Sample { name: "dirichlet_prior", rows: Vec::new(), unsound: 0, outside: 0 };
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            for i in 0..batch.num_rows() {
                let get = |column: &str| number(&batch, column, i);
                all.add(get, set, library);
                if name == "dirichlet"
                    && (-11.5..=-7.5).contains(&(get("log_sfr") - get("log_mass_formed")))
                {
                    prior.add(get, set, library);
                }
            }
        }
        assert_eq!(all.rows.len() + all.unsound + all.outside, 500, "rows of fsps_{name}");
        samples.push(all);
        if name == "dirichlet" {
            samples.push(prior);
        }
    }
    Some(samples)
}

fn number(batch: &RecordBatch, column: &str, i: usize) -> f64 {
    let Some(values) = batch.column_by_name(column) else { panic!("no column {column}") };
    values.as_primitive::<Float64Type>().value(i)
}

impl Sample {
    fn add(&mut self, get: impl Fn(&str) -> f64, set: &FilterSet, library: &SspLibrary) {
        let redshift = get("redshift");
        let (sfh, log_mass_formed, sound, scale) = if self.name == "tau" {
            let sfh = Sfh::Tau { tau_gyr: get("tau_gyr"), t_i_gyr: get("t_i_gyr") };
            // Histories that begin after the last time step.
            let mass = get("log_mass_formed");
            let sound = mass >= 4.0 && get("log_sfr_last_tenth") >= -25.0;
            (sfh, mass, sound, 1.0 + redshift)
        } else {
            let (asked, realised) = (get("log_mass_formed"), get("rec_log_mass"));
            let sfh = Sfh::Dirichlet {
                log_ssfr: (get("log_sfr") - asked).max(-20.0),
                t25: get("t25"),
                t50: get("t50"),
                t75: get("t75"),
            };
            (sfh, realised, (realised - asked).abs() <= 0.05, LSUN_RATIO)
        };
        if !sound {
            self.unsound += 1;
            return;
        }
        let metallicity = get("metallicity") + LOG_SOLAR_RATIO;
        let (low, high) = library.metallicity_range();
        if !(low..=high).contains(&metallicity) {
            self.outside += 1;
            return;
        }
        let a_v = MAG_PER_DEPTH * get("dust2");
        let flux = |band: &String| 1e3 * scale * get(&format!("flux_ujy_{band}"));
        self.rows.push(Row {
            parameters: Parameters { sfh, log_mass_formed, metallicity, a_v, redshift },
            flux_njy: set.names().iter().map(flux).collect(),
            log_mass_stellar: get("log_mass_stellar"),
            t50: (self.name != "tau").then(|| get("rec_t50")),
        });
    }
}

/// The model with an IGM, all else by default.
pub fn model(library: &Arc<SspLibrary>, igm: IgmModel) -> ForwardModel {
    let options = ModelOptions { igm, ..ModelOptions::default() };
    ForwardModel::new(library.clone(), FilterSet::jades(), options).unwrap()
}

/// The redshift bin of a redshift.
fn bin_of(redshift: f64) -> usize {
    REDSHIFT_EDGES[1..REDSHIFT_EDGES.len() - 1].partition_point(|&edge| edge <= redshift)
}

/// The wavelength grid that FSPS has with MILES: (first Angstrom at rest, spacing).
const GRID: [(f64, f64); 8] = [
    (0.0, 10.0),
    (2_900.0, 20.0),
    (3_601.4, 0.9),
    (7_402.0, 20.0),
    (10_000.0, 50.0),
    (16_000.0, 100.0),
    (32_000.0, 200.0),
    (64_000.0, 400.0),
];

/// How our fluxes are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bands {
    /// Photon-counting integrals: the model's own photometry.
    Photons,
    /// As the reference has them: sum of T f_nu over the points of FSPS's grid
    /// over the sum of T, T at the redshift rounded to 0.01. Where the grid is
    /// fine (3600 to 7400 A at rest) the spectrum weighs up to 22 times more
    /// than beside it.
    Grid,
}

/// Our spectrum through the bands as [`Bands::Grid`] says, nJy.
fn grid_fluxes(model: &ForwardModel, set: &FilterSet, p: &Parameters, flux: &mut [f64]) {
    let mut workspace = model.workspace();
    let full = Components::Full;
    let spectrum = model.spectrum(p, full, Frame::Observed, &mut workspace).unwrap();
    let z = p.redshift;
    let shift = (1.0 + (z * 100.0).round() / 100.0) / (1.0 + z);
    // Bins of equal width in ln(wavelength).
    let n = spectrum.wave_angstrom.len();
    let ln_step = (spectrum.wave_angstrom[n - 1] / spectrum.wave_angstrom[0]).ln() / (n - 1) as f64;
    let points = |wave: f64| {
        let rest = wave / (1.0 + z);
        let piece = GRID.partition_point(|(first, _)| *first <= rest) - 1;
        rest * ln_step / GRID[piece].1
    };
    for (filter, flux) in set.filters().iter().zip(flux) {
        let (mut sum, mut norm) = (0.0, 0.0);
        for (&wave, density) in spectrum.wave_angstrom.iter().zip(&spectrum.density) {
            let weight = filter.throughput_at(wave * shift) * points(wave);
            // erg/s/cm^2/Angstrom to nJy.
            sum += weight * density * wave * wave / 2.997_924_58e18 * 1e32;
            norm += weight;
        }
        *flux = sum / norm;
    }
}

/// Compares a sample with the model.
pub fn compare(model: &ForwardModel, set: &FilterSet, sample: &Sample, bands: Bands) -> Comparison {
    let bins = REDSHIFT_EDGES.len() - 1;
    let slot = |region: Region, bin: usize| region as usize * bins + bin;
    // (bands, regions x bins): rest wavelengths and differences.
    let mut table = vec![vec![(Vec::new(), Vec::new()); 3 * bins]; set.names().len()];
    let mut workspace = model.workspace();
    let mut flux = vec![0.0; set.names().len()];
    let (mut mass, mut t50) = (Vec::new(), Vec::new());
    for row in &sample.rows {
        let p = &row.parameters;
        let derived = model.photometry(p, Components::Full, &mut workspace, &mut flux).unwrap();
        mass.push(derived.log_mass_stellar - row.log_mass_stellar);
        if let Some(theirs) = row.t50 {
            let ours = Realised::measure(&p.sfh, cosmology::age_gyr(p.redshift)).unwrap();
            t50.push(ours.t50 - theirs);
        }
        if bands == Bands::Grid {
            grid_fluxes(model, set, p, &mut flux);
        }
        let brightest = row.flux_njy.iter().copied().fold(0.0, f64::max);
        for (b, filter) in set.filters().iter().enumerate() {
            if row.flux_njy[b] < FAINTEST * brightest {
                continue;
            }
            let rest = filter.pivot_angstrom() / (1.0 + p.redshift);
            let (wave, delta) = &mut table[b][slot(Region::of(rest), bin_of(p.redshift))];
            wave.push(rest);
            delta.push(-2.5 * (flux[b] / row.flux_njy[b]).log10() - IMF_MAG);
        }
    }
    let (mut cells, mut pooled) = (Vec::new(), Vec::new());
    for region in Region::ALL {
        for bin in 0..bins {
            let s = slot(region, bin);
            let all: Vec<f64> = table.iter().flat_map(|t| t[s].1.iter().copied()).collect();
            pooled.push((region, bin, Spread::of(all)));
            for (band, slots) in set.names().iter().zip(&mut table) {
                let (wave, delta) = std::mem::take(&mut slots[s]);
                if !delta.is_empty() {
                    let rest_angstrom = Spread::of(wave).median;
                    let spread = Spread::of(delta);
                    cells.push(Cell { band: band.clone(), bin, region, rest_angstrom, spread });
                }
            }
        }
    }
    Comparison { cells, pooled, mass: Spread::of(mass), t50: Spread::of(t50) }
}
