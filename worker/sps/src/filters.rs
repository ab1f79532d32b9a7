//! Filter curves and photon-counting band integrals.
//!
//! <f_nu> = int f_lambda T lambda dlambda / ( c int T dlambda / lambda ),
//! T the throughput in electrons per photon. T is piecewise linear between
//! the points of its table, so int T lambda dlambda up to any wavelength has
//! a closed form; it is tabulated finely in ln(lambda).

use crate::error::SpsError;
use outshine_kernels::scalar;

/// The 19 JADES bands, from the MIT-licensed Python package astro-sedpy.
const EMBEDDED: &str = include_str!("../data/filters_jades.txt");

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
    /// electrons per photon; `#` starts a comment.
    ///
    /// # Errors
    /// [`SpsError::Format`] when a line is not two numbers, wavelengths do not
    /// rise, a throughput is negative or not finite, or all are zero.
    pub fn from_table(name: &str, text: &str) -> Result<Self, SpsError> {
        let what = format!("filter curve {name}");
        let (mut wave_angstrom, mut throughput) = (Vec::new(), Vec::new());
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
            if !(wave.is_finite() && wave > wave_angstrom.last().copied().unwrap_or(0.0)) {
                return Err(bad("wavelengths must be positive and rise"));
            }
            if !(value.is_finite() && value >= 0.0) {
                return Err(bad("throughput must be finite and not negative"));
            }
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
    /// # Errors
    /// [`SpsError::UnknownBand`] listing the known ones.
    pub fn embedded<S: AsRef<str>>(bands: &[S]) -> Result<Self, SpsError> {
        let mut filters = Vec::with_capacity(bands.len());
        for band in bands.iter().map(AsRef::as_ref) {
            let found = embedded_tables().find(|(name, _)| *name == band);
            let (name, table) = found.ok_or_else(|| SpsError::UnknownBand {
                band: band.to_owned(),
                known: Self::embedded_names().join(", "),
            })?;
            filters.push(Filter::from_table(name, table)?);
        }
        Self::new(filters)
    }

    /// All 19 JADES bands: NIRCam by wavelength, then ACS.
    #[must_use]
    pub fn jades() -> Self {
        Self::embedded(&Self::embedded_names()).expect("the embedded curves are tested")
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

    /// Names of all embedded bands.
    #[must_use]
    pub fn embedded_names() -> Vec<&'static str> {
        embedded_tables().map(|(name, _)| name).collect()
    }
}

/// (name, two-column table) of each embedded curve: blocks headed `band NAME`.
fn embedded_tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.split("band ").skip(1).filter_map(|block| block.split_once('\n'))
}

/// A band's integral over spectra on a grid uniform in ln(wavelength).
pub(crate) struct BandTable {
    /// ln of the wavelength of the first node.
    ln_first: f64,
    /// Distance of nodes in ln(wavelength): the grid's step / [`BandTable::PER_BIN`].
    ln_step: f64,
    /// int T lambda dlambda up to each node, over c int T dlambda / lambda.
    cumulative: Vec<f64>,
    /// T lambda / (c int T dlambda / lambda) at each node: what a line counts for.
    density: Vec<f64>,
}

impl BandTable {
    /// Nodes per bin of the spectral grid: half-widths of filter edges span many nodes.
    pub const PER_BIN: usize = 8;

    pub fn new(filter: &Filter, ln_bin: f64) -> Self {
        let ln_step = ln_bin / Self::PER_BIN as f64;
        let (blue, red) = filter.range_angstrom();
        let ln_first = scalar::ln(blue) - ln_step;
        let nodes = ((scalar::ln(red) - ln_first) / ln_step) as usize + 3;
        let scale = 1.0 / (LIGHT_ANGSTROM_S * filter.norm());
        let wave = |node: usize| scalar::exp(ln_first + node as f64 * ln_step);
        let cumulative = (0..nodes).map(|i| filter.cumulative(wave(i)) * scale).collect();
        let density = (0..nodes).map(|i| filter.throughput_at(wave(i)) * wave(i) * scale).collect();
        Self { ln_first, ln_step, cumulative, density }
    }

    /// ln of the blue and of the red end, Angstrom.
    pub fn ln_range(&self) -> (f64, f64) {
        (self.ln_first, self.ln_first + (self.cumulative.len() - 1) as f64 * self.ln_step)
    }

    /// <f_nu> of a spectrum of bin means f_lambda, per unit f_lambda (per Angstrom).
    ///
    /// `ln_edge`: ln of the observed blue edge of bin 0; bins are
    /// `PER_BIN` nodes wide.
    pub fn integrate(&self, ln_edge: f64, spectrum: &[f32]) -> f64 {
        let mut sum = 0.0;
        self.for_bins(ln_edge, spectrum.len(), |bin, weight| {
            sum += f64::from(spectrum[bin]) * weight;
        });
        sum
    }

    /// Calls `each` with the bins that the band sees, of `bins` in all, and the
    /// weight of their mean f_lambda in <f_nu>.
    #[inline(always)]
    pub fn for_bins(&self, ln_edge: f64, bins: usize, mut each: impl FnMut(usize, f64)) {
        let (blue, red) = self.ln_range();
        let bin = self.ln_step * Self::PER_BIN as f64;
        let first = (((blue - ln_edge) / bin).max(0.0)) as usize;
        let last = ((((red - ln_edge) / bin).max(0.0)) as usize + 1).min(bins);
        if first >= last {
            return;
        }
        let position = (ln_edge + first as f64 * bin - blue) / self.ln_step;
        let floor = position.floor();
        let part = position - floor;
        let mut node = floor as i64;
        let mut left = self.at(node, part);
        for i in first..last {
            node += Self::PER_BIN as i64;
            let right = self.at(node, part);
            each(i, right - left);
            left = right;
        }
    }

    /// Cumulative integral at `node` + `part`, held constant beyond both ends.
    #[inline]
    fn at(&self, node: i64, part: f64) -> f64 {
        let last = self.cumulative.len() - 1;
        if node < 0 {
            return self.cumulative[0];
        }
        let node = node as usize;
        if node >= last {
            return self.cumulative[last];
        }
        let (a, b) = (self.cumulative[node], self.cumulative[node + 1]);
        a + part * (b - a)
    }

    /// <f_nu> of a line of unit flux at an observed wavelength.
    pub fn line(&self, ln_observed: f64) -> f64 {
        let position = (ln_observed - self.ln_first) / self.ln_step;
        if position < 0.0 {
            return 0.0;
        }
        let node = position as usize;
        if node + 1 >= self.density.len() {
            return 0.0;
        }
        let part = position - node as f64;
        self.density[node] * (1.0 - part) + self.density[node + 1] * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_bands_at_their_pivot_wavelengths() {
        let set = FilterSet::jades();
        assert_eq!(set.names().len(), 19);
        // Pivot wavelengths (micron) of the JWST user documentation (NIRCam filters)
        // and of the ACS instrument handbook; good to 1 % whatever the throughput version.
        let published = [
            ("f090w", 0.901),
            ("f115w", 1.154),
            ("f150w", 1.501),
            ("f182m", 1.845),
            ("f200w", 1.990),
            ("f210m", 2.093),
            ("f277w", 2.786),
            ("f335m", 3.365),
            ("f356w", 3.563),
            ("f410m", 4.092),
            ("f430m", 4.280),
            ("f444w", 4.421),
            ("f460m", 4.624),
            ("f480m", 4.834),
            ("f435w", 0.4328),
            ("f606w", 0.5921),
            ("f775w", 0.7692),
            ("f814w", 0.8057),
            ("f850lp", 0.9033),
        ];
        for (name, micron) in published {
            let filter = set.filters().iter().find(|f| f.name() == name).expect(name);
            let pivot = filter.pivot_angstrom() * 1e-4;
            assert!((pivot / micron - 1.0).abs() < 0.01, "{name}: {pivot} against {micron}");
        }
    }

    #[test]
    fn a_flat_f_nu_spectrum_has_its_own_flux() {
        // f_lambda = c / lambda^2 is f_nu = 1; bin means of 1 / lambda^2 are 1 / (a b).
        let ln_bin = 0.002;
        for filter in FilterSet::jades().filters() {
            let table = BandTable::new(filter, ln_bin);
            for shift in [0.0, 0.000_3, 0.001_7] {
                let ln_edge = 8.0 + shift;
                let spectrum: Vec<f32> = (0..1600)
                    .map(|i| {
                        let a = (ln_edge + f64::from(i) * ln_bin).exp();
                        (LIGHT_ANGSTROM_S / (a * a * ln_bin.exp())) as f32
                    })
                    .collect();
                let flux = table.integrate(ln_edge, &spectrum);
                // Single precision of the spectrum, and bins 0.2 % wide.
                assert!((flux - 1.0).abs() < 2e-6, "{}: {flux}", filter.name());
            }
        }
    }

    #[test]
    fn a_line_counts_as_a_narrow_box() {
        let set = FilterSet::embedded(&["f444w"]).unwrap();
        let table = BandTable::new(&set.filters()[0], 0.002);
        let ln_edge = 44_000f64.ln();
        let width = 44_000.0 * (0.002f64.exp() - 1.0);
        let mut spectrum = [0.0f32; 1];
        spectrum[0] = (1.0 / width) as f32;
        let box_flux = table.integrate(ln_edge, &spectrum);
        let line = table.line(ln_edge + 0.001);
        assert!((box_flux / line - 1.0).abs() < 1e-3, "{box_flux} {line}");
    }

    #[test]
    fn bad_curves_and_unknown_bands_are_named() {
        let error = FilterSet::embedded(&["f999w"]).unwrap_err().to_string();
        assert!(error.contains("f999w") && error.contains("f814w"), "{error}");
        assert!(FilterSet::embedded(&["f090w", "f090w"]).is_err());
        for table in ["1 2 3", "2 0.1\n1 0.2", "1 -1\n2 1", "1 0\n2 0", "", "a b"] {
            assert!(Filter::from_table("x", table).is_err(), "{table}");
        }
    }
}
