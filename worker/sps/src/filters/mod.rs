//! Filter curves and photon-counting band integrals.
//!
//! <f_nu> = int f_lambda T lambda dlambda / ( c int T dlambda / lambda ),
//! T the throughput in electrons per photon. T is piecewise linear between
//! the points of its table, so int T lambda dlambda up to any wavelength has
//! a closed form; it is tabulated finely in ln(lambda).

mod band_table;
mod embedded;

pub(crate) use band_table::BandTable;

use crate::error::SpsError;
use outshine_kernels::scalar;

/// Speed of light, Angstrom per second.
pub(crate) const LIGHT_ANGSTROM_S: f64 = 2.997_924_58e18;

/// One filter curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    name: String,
    /// Rising wavelengths, Angstrom.
    wave_angstrom: Vec<f64>,
    /// Throughput, electrons per photon, at each wavelength.
    throughput: Vec<f64>,
}

impl Filter {
    /// Reads a two-column table: wavelength in Angstrom, throughput in
    /// electrons per photon; `#` starts a comment. Where neighbouring lines
    /// repeat a wavelength, as rounding makes them, the mean of their
    /// throughputs counts.
    ///
    /// # Errors
    /// [`SpsError::Format`] when a line is not two numbers, wavelengths fall,
    /// a throughput is negative or not finite, or all are zero.
    pub fn from_table(name: &str, text: &str) -> Result<Self, SpsError> {
        let what = format!("filter curve {name}");
        let (mut wave_angstrom, mut throughput) = (Vec::new(), Vec::<f64>::new());
        // Lines so far at the last wavelength.
        let mut repeats = 0.0;
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let bad = |why: &str| SpsError::format(&what, format!("line {}: {why}", number + 1));
            let mut columns = line.split_whitespace().map(str::parse::<f64>);
            let (Some(Ok(wave)), Some(Ok(value)), None) =
                (columns.next(), columns.next(), columns.next())
            else {
                return Err(bad("expected two numbers"));
            };
            let last = wave_angstrom.last().copied().unwrap_or(0.0);
            if !(wave.is_finite() && wave > 0.0 && wave >= last) {
                return Err(bad("wavelengths must be positive and rise"));
            }
            if !(value.is_finite() && value >= 0.0) {
                return Err(bad("throughput must be finite and not negative"));
            }
            if let (true, Some(mean)) = (wave == last, throughput.last_mut()) {
                repeats += 1.0;
                *mean += (value - *mean) / repeats;
                continue;
            }
            repeats = 1.0;
            wave_angstrom.push(wave);
            throughput.push(value);
        }
        let filter = Self { name: name.to_owned(), wave_angstrom, throughput };
        if filter.wave_angstrom.len() < 2 || filter.throughput.iter().all(|&t| t == 0.0) {
            return Err(SpsError::format(&what, "no throughput above zero"));
        }
        Ok(filter)
    }

    /// Name of the band.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First and last wavelength of the curve, Angstrom.
    #[must_use]
    pub fn range_angstrom(&self) -> (f64, f64) {
        (self.wave_angstrom[0], *self.wave_angstrom.last().unwrap_or(&self.wave_angstrom[0]))
    }

    /// Throughput at a wavelength; zero outside the curve.
    #[must_use]
    pub fn throughput_at(&self, wave_angstrom: f64) -> f64 {
        let i = self.wave_angstrom.partition_point(|&w| w <= wave_angstrom);
        if i == 0 || i == self.wave_angstrom.len() {
            return 0.0;
        }
        let (w0, w1) = (self.wave_angstrom[i - 1], self.wave_angstrom[i]);
        let part = (wave_angstrom - w0) / (w1 - w0);
        self.throughput[i - 1] * (1.0 - part) + self.throughput[i] * part
    }

    /// int T dlambda / lambda, exact for the piecewise linear curve.
    fn norm(&self) -> f64 {
        self.segments()
            .map(|(w0, w1, t0, slope)| (t0 - slope * w0) * scalar::ln(w1 / w0) + slope * (w1 - w0))
            .sum()
    }

    /// Pivot wavelength, Angstrom: sqrt( int T lambda dlambda / int T dlambda / lambda ).
    #[must_use]
    pub fn pivot_angstrom(&self) -> f64 {
        let (_, last) = self.range_angstrom();
        (self.cumulative(last) / self.norm()).sqrt()
    }

    fn segments(&self) -> impl Iterator<Item = (f64, f64, f64, f64)> + '_ {
        let points = self.wave_angstrom.windows(2).zip(self.throughput.windows(2));
        points.map(|(w, t)| (w[0], w[1], t[0], (t[1] - t[0]) / (w[1] - w[0])))
    }

    /// int T lambda dlambda from the blue end to `wave_angstrom`.
    fn cumulative(&self, wave_angstrom: f64) -> f64 {
        let mut sum = 0.0;
        for (w0, w1, t0, slope) in self.segments() {
            if wave_angstrom <= w0 {
                break;
            }
            let end = w1.min(wave_angstrom);
            let constant = t0 - slope * w0;
            sum += constant * 0.5 * (end * end - w0 * w0);
            sum += slope / 3.0 * (end * end * end - w0 * w0 * w0);
        }
        sum
    }
}

/// An ordered set of bands.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSet {
    filters: Vec<Filter>,
    names: Vec<String>,
}

impl FilterSet {
    /// A set of given curves.
    ///
    /// # Errors
    /// [`SpsError::Setting`] when it is empty or a name occurs twice.
    pub fn new(filters: Vec<Filter>) -> Result<Self, SpsError> {
        let names: Vec<String> = filters.iter().map(|f| f.name.clone()).collect();
        if names.is_empty() {
            return Err(SpsError::setting("bands", "no band is named"));
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(SpsError::setting("bands", format!("{name} is named twice")));
            }
        }
        Ok(Self { filters, names })
    }

    /// Embedded curves by name, in the order asked for.
    ///
    /// A name is a full one (`nircam_f277w`, `acs_wfc_f814w`, `wfc3_ir_f160w`,
    /// `wfc3_uvis_f336w`) or a short one (`f277w`), which means the first of
    /// these instruments that has it; capitals do not matter. A band is called
    /// as the caller calls it, in lower case.
    ///
    /// # Errors
    /// [`SpsError::UnknownBand`] listing the known ones; [`SpsError::Setting`]
    /// when no band or one band twice is asked for.
    pub fn embedded<S: AsRef<str>>(bands: &[S]) -> Result<Self, SpsError> {
        let specs: Vec<_> = bands.iter().map(|b| (b.as_ref().to_owned(), None)).collect();
        Self::resolve(&specs)
    }

    /// Bands by (name, own curve): a band with a table (see
    /// [`Filter::from_table`]) is that curve under that name, one without is
    /// the embedded curve of that name (see [`FilterSet::embedded`]).
    /// [`split_spec`] makes name and path of a setting such as
    /// `f277w=curve.dat`.
    ///
    /// # Errors
    /// As [`FilterSet::embedded`]; [`SpsError::Format`] naming the band of a
    /// bad table; [`SpsError::Setting`] for a name that is not of letters,
    /// digits and `_`.
    pub fn resolve(specs: &[(String, Option<String>)]) -> Result<Self, SpsError> {
        let index = embedded::index();
        let mut filters = Vec::with_capacity(specs.len());
        let mut taken: Vec<(&str, &str)> = Vec::new();
        for (given, own) in specs {
            let name = given.trim().to_ascii_lowercase();
            if let Some(table) = own {
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                {
                    let problem = format!("`{name}` is no name: use letters, digits and `_`");
                    return Err(SpsError::setting("bands", problem));
                }
                filters.push(Filter::from_table(&name, table)?);
                continue;
            }
            let (full, table) = embedded::find(&index, &name).ok_or_else(|| {
                SpsError::UnknownBand { known: embedded::known(&name), band: name.clone() }
            })?;
            if let Some((_, other)) = taken.iter().find(|(one, _)| *one == full) {
                let problem = format!("`{other}` and `{given}` are the same band");
                return Err(SpsError::setting("bands", problem));
            }
            taken.push((full, given));
            filters.push(Filter::from_table(&name, table)?);
        }
        Self::new(filters)
    }

    /// The 19 JADES bands under their short names: NIRCam by wavelength, then ACS.
    #[must_use]
    pub fn jades() -> Self {
        Self::embedded(Self::jades_names()).expect("the embedded curves are tested")
    }

    /// Names of the bands of [`FilterSet::jades`].
    #[must_use]
    pub fn jades_names() -> &'static [&'static str] {
        &embedded::JADES
    }

    /// Full names of all embedded bands: by instrument, then by wavelength.
    #[must_use]
    pub fn embedded_names() -> Vec<&'static str> {
        embedded::index().into_iter().map(|(name, _)| name).collect()
    }

    /// Names of the bands, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The curves, in order.
    #[must_use]
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }
}

/// Name and file of a band in a setting: `f277w` is (`f277w`, none),
/// `f277w=curve.dat` is (`f277w`, `curve.dat`).
#[must_use]
pub fn split_spec(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once('=') {
        Some((name, path)) => (name.trim(), Some(path.trim())),
        None => (spec.trim(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jades_is_nineteen_short_names() {
        let set = FilterSet::jades();
        assert_eq!(set.names(), FilterSet::jades_names());
        assert_eq!(set.names().len(), 19);
    }

    #[test]
    fn bad_curves_are_named() {
        for table in ["1 2 3", "2 0.1\n1 0.2", "1 -1\n2 1", "1 0\n2 0", "", "a b", "1 1\n1 1"] {
            let error = Filter::from_table("x", table).unwrap_err().to_string();
            assert!(error.contains("filter curve x"), "{table}: {error}");
        }
    }

    #[test]
    fn repeated_wavelengths_count_by_their_mean() {
        let repeated = Filter::from_table("x", "1 0\n2 0.1\n2 0.2\n2 0.6\n3 1\n3 0\n4 0").unwrap();
        let plain = Filter::from_table("x", "1 0\n2 0.3\n3 0.5\n4 0").unwrap();
        for (a, b) in repeated.throughput.iter().zip(&plain.throughput) {
            assert!((a - b).abs() < 1e-15);
        }
        assert_eq!(repeated.wave_angstrom, plain.wave_angstrom);
    }

    /// A box from a to b: int T lambda = (b^2 - a^2) / 2, int T / lambda = ln(b / a).
    #[test]
    fn pivot_of_a_box() {
        let filter = Filter::from_table("box", "4000 1\n6000 1").unwrap();
        let expected = (1e7 / 1.5f64.ln()).sqrt();
        assert!((filter.pivot_angstrom() / expected - 1.0).abs() < 1e-12);
    }
}
