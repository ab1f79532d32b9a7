//! A library of simple stellar populations, with the nebular emission that
//! their young stars excite, on one wavelength grid; and its file format.
//!
//! Spectra are means over bins, of wavelength and of age: a bin of age holds
//! the mean over stars formed at a constant rate within it, so that a
//! history enters by the mass formed per bin. Per Msun **formed**, in
//! Lsun / Angstrom (lines: Lsun); Lsun = 3.828e33 erg/s.
//!
//! The wavelength grid is uniform in ln(wavelength), with an edge on Lyman
//! alpha and one on the Lyman limit, preceded by a few wide "tail" bins whose
//! only use is the energy that dust absorbs there.
//!
//! File: 8 bytes magic, u32 length of a JSON header, the header (metadata and
//! sizes), then one zstd frame with all arrays, little-endian: f64 axes, then
//! f32 arrays cut to 12 bits of mantissa (relative error 1.2e-4) and stored
//! byte plane by byte plane. Format 1 holds a grid of nebular emission over at
//! least two log U; format 2 says in its header what gas there is ([`Gas`]),
//! and its grids of emission may be of one log U, or absent. Both are read;
//! format 1 is written wherever it can say all there is.

use crate::error::SpsError;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The last byte of the magic is the format.
const MAGIC: &[u8; 7] = b"OUTSSP\x00";
/// Header and arrays of any sane library; guards against a hostile size field.
const MAX_BODY_BYTES: usize = 1 << 30;
const WHAT: &str = "SSP library";

/// The embedded default.
#[cfg(feature = "bc03")]
const EMBEDDED: &[u8] = include_bytes!("../data/bc03_miles.ssp");

/// Where a library comes from and what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryMeta {
    /// Short name.
    pub name: String,
    /// Version of its content.
    pub version: String,
    /// Initial mass function.
    pub imf: String,
    /// Isochrones.
    pub isochrones: String,
    /// Stellar spectra.
    pub spectra: String,
    /// Mass fraction of metals that [M/H] = 0 stands for.
    pub solar_metallicity: f64,
    /// Wavelengths: vacuum or air.
    pub wavelengths: String,
    /// Sampling of the stored spectra.
    pub resolution: String,
    /// Nebular emission: code, geometry.
    pub nebular: String,
    /// Dust emission: model and its parameters.
    pub dust_emission: String,
    /// Circumstellar dust of AGB stars.
    pub agb_dust: String,
    /// Files it was made from.
    pub source: String,
    /// Licence of the data.
    pub licence: String,
}

/// What a library knows of the gas around young stars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Gas {
    /// Nothing: the spectra are those of bare stars.
    None,
    /// Its emission is part of the spectra, and cannot be taken out of them.
    Included {
        /// log10 of the ionisation parameter, if known.
        log_u: Option<f64>,
    },
    /// Grids of emission beside the spectra of the bare stars.
    #[default]
    Grid,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    metallicities: usize,
    ages: usize,
    waves: usize,
    tail_waves: usize,
    log_u: usize,
    nebular_ages: usize,
    lines: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    meta: LibraryMeta,
    sizes: Sizes,
    /// Format 2 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gas: Option<Gas>,
}

/// The arrays of a library. Axis order is in each field's doc, last axis contiguous.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Arrays {
    /// (metallicities) rising [M/H].
    pub metallicity: Vec<f64>,
    /// (ages + 1) rising edges of the age bins, Gyr, the first 0.
    pub age_edges_gyr: Vec<f64>,
    /// (waves + 1) rising edges of the wavelength bins, Angstrom.
    pub wave_edges_angstrom: Vec<f64>,
    /// How many leading wavelength bins are tail bins.
    pub tail_waves: usize,
    /// (metallicities, ages) mass in stars and remnants per mass formed.
    pub remaining_mass: Vec<f64>,
    /// (log_u) rising ionisation parameters. Empty, as all arrays of gas are,
    /// unless the library holds a [`Gas::Grid`]; only the age edges keep their 0.
    pub log_u: Vec<f64>,
    /// (nebular ages + 1) rising edges, Gyr, the first 0.
    pub nebular_age_edges_gyr: Vec<f64>,
    /// (lines) rest wavelengths, Angstrom.
    pub line_angstrom: Vec<f64>,
    /// (metallicities, ages, waves) Lsun / Angstrom per Msun formed.
    pub stellar: Vec<f32>,
    /// (log_u, metallicities, nebular ages, waves) Lsun / Angstrom per Msun formed.
    pub nebular_continuum: Vec<f32>,
    /// (log_u, metallicities, nebular ages, lines) Lsun per Msun formed.
    pub nebular_lines: Vec<f32>,
    /// (waves) emission of dust per unit absorbed luminosity, 1 / Angstrom.
    pub dust_emission: Vec<f32>,
}

/// A library of SSPs.
#[derive(Clone, Debug, PartialEq)]
pub struct SspLibrary {
    meta: LibraryMeta,
    gas: Gas,
    sizes: Sizes,
    arrays: Arrays,
    digest: String,
}

impl SspLibrary {
    /// The library embedded in this build: BC03 with MILES.
    ///
    /// # Errors
    /// [`SpsError::NoEmbeddedLibrary`] when feature `bc03` is off.
    pub fn embedded() -> Result<Self, SpsError> {
        #[cfg(feature = "bc03")]
        return Self::from_bytes(EMBEDDED);
        #[cfg(not(feature = "bc03"))]
        Err(SpsError::NoEmbeddedLibrary)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SpsError::Io`] or [`SpsError::Format`] naming the file.
    pub fn open(path: &std::path::Path) -> Result<Self, SpsError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Err(source) => Err(SpsError::Io { path: name, source }),
            Ok(bytes) => Self::from_bytes(&bytes).map_err(|e| match e {
                SpsError::Format { problem, .. } => {
                    SpsError::format(&format!("{WHAT} {name}"), problem)
                }
                other => other,
            }),
        }
    }

    /// Checks and takes arrays; f32 arrays are cut to the precision of the file.
    ///
    /// # Errors
    /// [`SpsError::Format`] naming the first array that is wrong.
    pub fn new(meta: LibraryMeta, gas: Gas, mut arrays: Arrays) -> Result<Self, SpsError> {
        let sizes = Sizes {
            metallicities: arrays.metallicity.len(),
            ages: arrays.age_edges_gyr.len().saturating_sub(1),
            waves: arrays.wave_edges_angstrom.len().saturating_sub(1),
            tail_waves: arrays.tail_waves,
            log_u: arrays.log_u.len(),
            nebular_ages: arrays.nebular_age_edges_gyr.len().saturating_sub(1),
            lines: arrays.line_angstrom.len(),
        };
        for array in f32_arrays(&mut arrays) {
            array.iter_mut().for_each(|v| *v = cut_mantissa(*v));
        }
        check(&meta, gas, sizes, &mut arrays)?;
        let mut library = Self { meta, gas, sizes, arrays, digest: String::new() };
        library.digest = hex(&Sha256::digest(library.to_bytes()));
        Ok(library)
    }

    /// Reads the file format above.
    ///
    /// # Errors
    /// [`SpsError::Format`] when the bytes are no library, truncated, or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SpsError> {
        let bad = |problem: &str| SpsError::format(WHAT, problem);
        let rest = bytes
            .strip_prefix(&MAGIC[..])
            .ok_or_else(|| bad("it does not start as an Outshine SSP library does"))?;
        let (format, rest) = rest.split_first().ok_or_else(|| bad("truncated"))?;
        if !(1..=2).contains(format) {
            return Err(bad(&format!("it is of format {format}; known are 1 and 2")));
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| bad("truncated"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() < length {
            return Err(bad("truncated header"));
        }
        let (header, body) = rest.split_at(length);
        let header: Header =
            serde_json::from_slice(header).map_err(|e| bad(&format!("header: {e}")))?;
        let gas = match (format, header.gas) {
            (1, None) => Gas::Grid,
            (2, Some(gas)) => gas,
            _ => return Err(bad("header: `gas` belongs to format 2, and to it alone")),
        };
        let sizes = header.sizes;
        let mut arrays = Arrays { tail_waves: sizes.tail_waves, ..Arrays::default() };
        let lengths = lengths(sizes).ok_or_else(|| bad("impossible sizes"))?;
        let expected: usize =
            lengths.0.iter().sum::<usize>() * 8 + lengths.1.iter().sum::<usize>() * 4;
        let body = zstd::bulk::decompress(body, expected)
            .map_err(|e| bad(&format!("compressed arrays: {e}")))?;
        if body.len() != expected {
            return Err(bad("the arrays do not have the sizes of the header"));
        }
        let mut at = 0;
        for (array, n) in f64_arrays(&mut arrays).into_iter().zip(lengths.0) {
            let chunk = &body[at..at + 8 * n];
            *array = chunk.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
            at += 8 * n;
        }
        for (array, n) in f32_arrays(&mut arrays).into_iter().zip(lengths.1) {
            let planes = &body[at..at + 4 * n];
            *array = (0..n)
                .map(|i| f32::from_le_bytes(std::array::from_fn(|k| planes[k * n + i])))
                .collect();
            at += 4 * n;
        }
        check(&header.meta, gas, sizes, &mut arrays)?;
        Ok(Self { meta: header.meta, gas, sizes, arrays, digest: hex(&Sha256::digest(bytes)) })
    }

    /// The file format above.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let first = self.gas == Gas::Grid && self.sizes.log_u >= 2;
        let gas = (!first).then_some(self.gas);
        let header = Header { meta: self.meta.clone(), sizes: self.sizes, gas };
        let header = serde_json::to_vec(&header).expect("a header of numbers and strings");
        let mut arrays = self.arrays.clone();
        let mut body = Vec::new();
        for array in f64_arrays(&mut arrays) {
            array.iter().for_each(|v| body.extend_from_slice(&v.to_le_bytes()));
        }
        for array in f32_arrays(&mut arrays) {
            for plane in 0..4 {
                body.extend(array.iter().map(|v| v.to_le_bytes()[plane]));
            }
        }
        let body = zstd::bulk::compress(&body, 19).expect("compression into memory");
        let mut bytes = MAGIC.to_vec();
        bytes.push(if first { 1 } else { 2 });
        let length = u32::try_from(header.len()).expect("a header below 4 GiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Name, ingredients, source and licence.
    #[must_use]
    pub fn meta(&self) -> &LibraryMeta {
        &self.meta
    }

    /// What the library knows of the gas around young stars.
    #[must_use]
    pub fn gas(&self) -> Gas {
        self.gas
    }

    /// SHA-256 of the file's bytes, in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.clone()
    }

    /// The arrays.
    #[must_use]
    pub fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    /// Lowest and highest [M/H].
    #[must_use]
    pub fn metallicity_range(&self) -> (f64, f64) {
        let z = &self.arrays.metallicity;
        (z[0], z[z.len() - 1])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Rounds to 12 bits of mantissa; numbers too small to matter become zero.
fn cut_mantissa(value: f32) -> f32 {
    const LEAST: f32 = 1e-30;
    if !value.is_finite() || value.abs() < LEAST {
        return if value.is_finite() { 0.0 } else { value };
    }
    f32::from_bits((value.to_bits() + (1 << 10)) & !((1 << 11) - 1))
}

fn f64_arrays(a: &mut Arrays) -> [&mut Vec<f64>; 7] {
    [
        &mut a.metallicity,
        &mut a.age_edges_gyr,
        &mut a.wave_edges_angstrom,
        &mut a.remaining_mass,
        &mut a.log_u,
        &mut a.nebular_age_edges_gyr,
        &mut a.line_angstrom,
    ]
}

fn f32_arrays(a: &mut Arrays) -> [&mut Vec<f32>; 4] {
    [&mut a.stellar, &mut a.nebular_continuum, &mut a.nebular_lines, &mut a.dust_emission]
}

/// Lengths of the f64 and f32 arrays; `None` when they overflow or are absurd.
fn lengths(s: Sizes) -> Option<([usize; 7], [usize; 4])> {
    let edges = |n: usize| n.checked_add(1);
    let product = |factors: &[usize]| {
        factors.iter().try_fold(1usize, |n, &f| n.checked_mul(f)).filter(|&n| n < MAX_BODY_BYTES)
    };
    let nebular = [s.log_u, s.metallicities, s.nebular_ages];
    let doubles = [
        s.metallicities,
        edges(s.ages)?,
        edges(s.waves)?,
        product(&[s.metallicities, s.ages])?,
        s.log_u,
        edges(s.nebular_ages)?,
        s.lines,
    ];
    let singles = [
        product(&[s.metallicities, s.ages, s.waves])?,
        product(&[nebular[0], nebular[1], nebular[2], s.waves])?,
        product(&[nebular[0], nebular[1], nebular[2], s.lines])?,
        s.waves,
    ];
    let all = doubles.iter().chain(&singles).try_fold(0usize, |n, &m| n.checked_add(m))?;
    (all < MAX_BODY_BYTES / 4).then_some((doubles, singles))
}

fn check(meta: &LibraryMeta, gas: Gas, sizes: Sizes, arrays: &mut Arrays) -> Result<(), SpsError> {
    let bad = |problem: String| Err(SpsError::format(WHAT, problem));
    if !(meta.solar_metallicity > 0.0 && meta.solar_metallicity < 1.0) {
        return bad("solar metallicity must lie between 0 and 1".to_owned());
    }
    if sizes.metallicities < 2 || sizes.ages == 0 || sizes.waves == 0 {
        return bad("an axis is too short".to_owned());
    }
    match gas {
        Gas::Grid if sizes.log_u == 0 || sizes.nebular_ages == 0 => {
            return bad("a grid of nebular emission needs a log U and an age".to_owned());
        }
        Gas::None | Gas::Included { .. }
            if [sizes.log_u, sizes.nebular_ages, sizes.lines] != [0; 3] =>
        {
            return bad("it holds nebular emission and says that it holds none".to_owned());
        }
        Gas::Included { log_u: Some(log_u) } if !log_u.is_finite() => {
            return bad("the log U of its gas is no finite number".to_owned());
        }
        _ => {}
    }
    if sizes.tail_waves + 2 > sizes.waves {
        return bad("no wavelength bins beside the tail".to_owned());
    }
    let Some((doubles, singles)) = lengths(sizes) else {
        return bad("impossible sizes".to_owned());
    };
    for (i, (array, n)) in f64_arrays(arrays).into_iter().zip(doubles).enumerate() {
        if array.len() != n || array.iter().any(|v| !v.is_finite()) {
            return bad(format!("axis {i} is not {n} finite numbers"));
        }
        // The remaining mass (3) and the list of lines (6) need not rise.
        if i != 3 && i != 6 && array.windows(2).any(|w| w[1] <= w[0]) {
            return bad(format!("axis {i} does not rise"));
        }
    }
    for (i, (array, n)) in f32_arrays(arrays).into_iter().zip(singles).enumerate() {
        if array.len() != n || array.iter().any(|v| !v.is_finite() || *v < 0.0) {
            return bad(format!("array {i} is not {n} finite numbers of at least 0"));
        }
    }
    if arrays.age_edges_gyr[0] != 0.0 || arrays.nebular_age_edges_gyr[0] != 0.0 {
        return bad("ages must start at 0".to_owned());
    }
    let uniform = &arrays.wave_edges_angstrom[sizes.tail_waves..];
    let step = scalar::ln(uniform[1] / uniform[0]);
    let even = |w: &[f64]| (scalar::ln(w[1] / w[0]) / step - 1.0).abs() < 1e-6;
    if uniform[0] <= 0.0 || !uniform.windows(2).all(even) {
        return bad("the wavelength grid is not uniform in its logarithm".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mantissa_is_cut_to_twelve_bits() {
        for value in [1.0f32, 3.173_592_7, 1e-20, 7.7e25] {
            let cut = cut_mantissa(value);
            assert!((f64::from(cut) / f64::from(value) - 1.0).abs() < 1.3e-4);
            assert_eq!(cut.to_bits() & 0x7ff, 0);
        }
        assert_eq!(cut_mantissa(1e-35), 0.0);
    }

    #[cfg(feature = "bc03")]
    #[test]
    fn the_embedded_library_survives_its_own_format() {
        let library = SspLibrary::embedded().unwrap();
        let bytes = library.to_bytes();
        assert_eq!(bytes, EMBEDDED, "made by this code from the same grids");
        assert_eq!(SspLibrary::from_bytes(&bytes).unwrap(), library);
        assert_eq!(library.digest().len(), 64);
        assert!(bytes.len() < 6_000_000, "{} bytes", bytes.len());
        for cut in [0, 7, 11, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(SspLibrary::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    /// Published: a 5 Gyr old solar SSP keeps about 58 % of its mass (Kroupa IMF), and
    /// one Msun of newly formed stars shines with about 1000 Lsun.
    #[cfg(feature = "bc03")]
    #[test]
    fn masses_and_luminosities_are_those_of_stars() {
        let library = SspLibrary::embedded().unwrap();
        let a = library.arrays();
        let ages = a.age_edges_gyr.len() - 1;
        let solar = a.metallicity.iter().position(|z| z.abs() < 1e-6).unwrap();
        let old = a.age_edges_gyr.iter().position(|&t| t > 5.0).unwrap();
        let kept = a.remaining_mass[solar * ages + old];
        assert!(kept > 0.35 && kept < 0.65, "{kept}");
        let waves = a.wave_edges_angstrom.len() - 1;
        let young = &a.stellar[solar * ages * waves..][..waves];
        let light: f64 = (0..waves)
            .map(|j| {
                let width = a.wave_edges_angstrom[j + 1] - a.wave_edges_angstrom[j];
                f64::from(young[j]) * width
            })
            .sum();
        assert!(light > 700.0 && light < 1500.0, "{light}");
    }
}
