//! The forward model: parameters of one stellar population to band fluxes.
//!
//! L_lambda = sum over age bins of (mass fraction) x (SSP of the bin), linear
//! in log Z between two metallicities; then attenuation, dust emission in
//! energy balance, the IGM, and
//! f_lambda(lambda (1+z)) = L_lambda / (4 pi D_L^2 (1+z)).
//!
//! With nebular emission on, stars younger than `nebular_max_age_gyr` lose
//! their Lyman continuum to the gas and gain its lines and continuum. Lines
//! are kept apart from the binned spectrum and meet the filters at their own
//! wavelengths. Dust attenuates stars, gas and lines alike.

use crate::error::SpsError;
use crate::filters::{BandTable, FilterSet};
use crate::gas::{Emission, check_components, gas_emission, sum_lines};
use crate::igm::{self, IgmTable, LYMAN_ALPHA_ANGSTROM};
use crate::library::SspLibrary;
use crate::sfh::{self, History, Parameters};
use crate::{cosmology, dust};
use outshine_kernels::{lanes, scalar};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Luminosity of the Sun, erg/s (IAU 2015).
pub(crate) const LSUN_ERG_S: f64 = 3.828e33;
/// Centimetres in a megaparsec.
const CM_PER_MPC: f64 = 3.085_677_581_491_367e24;
/// nJy in erg/s/cm^2/Hz.
const NJY_PER_CGS: f64 = 1e32;
/// Redshifts that can be computed; at 0 no flux is finite.
const Z_MAX: f64 = 20.0;
/// Dust emission is computed where a band reaches redder than this in the rest
/// frame: ln of 20,000 A. Bluer, stars outshine it by far.
const DUST_EMISSION_LN: f64 = 9.903_487_552_536_127;
/// Wavelength bins worked on together: a few vector registers of sums.
const BLOCK: usize = 64;

/// Which emission and absorption enters the fluxes. The IGM always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Components {
    /// Stars, gas, dust.
    #[default]
    Full,
    /// Stars and dust (attenuation and its re-emission), no gas.
    StellarDust,
    /// Stars alone.
    Stellar,
}

/// Absorption by the intergalactic medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IgmModel {
    /// Inoue et al. (2014).
    #[default]
    Inoue,
    /// None.
    None,
}

/// How fluxes are interpolated between metallicities of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetallicityScale {
    /// Linear in log Z.
    #[default]
    LogZ,
    /// Linear in Z, as bagpipes does: for comparison.
    LinearZ,
}

/// Settings of the forward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOptions {
    /// Absorption by the intergalactic medium.
    pub igm: IgmModel,
    /// log10 of the ionisation parameter of the gas.
    pub log_u: f64,
    /// Stars up to this age ionise gas, Gyr.
    pub nebular_max_age_gyr: f64,
    /// Re-emission by dust of what it absorbed.
    pub dust_emission: bool,
    /// Interpolation between metallicities.
    pub metallicity_scale: MetallicityScale,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            igm: IgmModel::default(),
            log_u: -2.0,
            nebular_max_age_gyr: 0.01,
            dust_emission: true,
            metallicity_scale: MetallicityScale::default(),
        }
    }
}

/// What follows from parameters without any photometry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derived {
    /// log10 of the mass in stars and remnants today, Msun.
    pub log_mass_stellar: f64,
    /// log10 of (mass formed in the last 100 Myr) / 100 Myr, Msun/yr.
    pub log_sfr_100: f64,
    /// Mass-weighted age, Gyr.
    pub mass_weighted_age_gyr: f64,
    /// Whether `log_sfr_100` is the floor: log sSFR_100 (per mass formed) of
    /// [`sfh::LOG_SSFR_FLOOR`].
    pub sfr_floored: bool,
}

/// Buffers of one thread, so that no call allocates.
pub struct Workspace {
    fractions: Vec<f64>,
    spectrum: Vec<f32>,
    lines: Vec<f64>,
}

/// The forward model: a library, bands and options, with everything that does
/// not depend on parameters worked out once. Shared between threads.
pub struct ForwardModel {
    library: Arc<SspLibrary>,
    options: ModelOptions,
    bands: Vec<String>,
    tables: Vec<BandTable>,
    ln_range: (f64, f64),
    /// Uniform bins: first index, ln of the first edge, step.
    tail: usize,
    ln_edge: f64,
    ln_step: f64,
    /// Per wavelength bin: -ln(10)/2.5 A(lambda)/A_V, and width in Angstrom.
    attenuation: Vec<f32>,
    width: Vec<f32>,
    /// Per uniform bin bluer than Lyman alpha: ln of its centre, lines redward of it.
    igm_ln_rest: Vec<f64>,
    igm_lines: Vec<u8>,
    igm: Option<IgmTable>,
    line_ln: Vec<f64>,
    line_attenuation: Vec<f32>,
    gas: Emission,
}

impl ForwardModel {
    /// Works out tables; takes a fraction of a second.
    ///
    /// # Errors
    /// [`SpsError::Setting`] when an option lies outside the library, or a
    /// band reaches redder than its grid.
    pub fn new(
        library: Arc<SspLibrary>,
        filters: FilterSet,
        options: ModelOptions,
    ) -> Result<Self, SpsError> {
        let arrays = library.arrays();
        let edges = &arrays.wave_edges_angstrom;
        let tail = arrays.tail_waves;
        let uniform = edges.len() - 1 - tail;
        let ln_edge = scalar::ln(edges[tail]);
        let ln_step = (scalar::ln(edges[edges.len() - 1]) - ln_edge) / uniform as f64;

        let tables: Vec<BandTable> =
            filters.filters().iter().map(|f| BandTable::new(f, ln_step)).collect();
        let ln_range = tables
            .iter()
            .map(BandTable::ln_range)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (a, b)| {
                (low.min(a), high.max(b))
            });
        for filter in filters.filters() {
            if filter.range_angstrom().1 > edges[edges.len() - 1] {
                let problem = format!("{} reaches redder than the SSP library does", filter.name());
                return Err(SpsError::setting("bands", problem));
            }
        }

        let centre = |j: usize| (edges[j] * edges[j + 1]).sqrt();
        let decay = |wave| (-0.4 * std::f64::consts::LN_10 * dust::calzetti_ratio(wave)) as f32;
        let attenuation = (0..edges.len() - 1).map(|j| decay(centre(j))).collect();
        let width = edges.windows(2).map(|w| (w[1] - w[0]) as f32).collect();
        let blue: Vec<f64> =
            (tail..edges.len() - 1).map(centre).take_while(|&w| w < LYMAN_ALPHA_ANGSTROM).collect();
        let igm = (options.igm == IgmModel::Inoue)
            .then(|| IgmTable::new(scalar::exp(ln_range.0) * 0.98, Z_MAX, 0.5 * ln_step));
        let gas = gas_emission(&library, &options)?;
        Ok(Self {
            bands: filters.names().to_vec(),
            tables,
            ln_range,
            tail,
            ln_edge,
            ln_step,
            attenuation,
            width,
            igm_ln_rest: blue.iter().map(|&w| scalar::ln(w)).collect(),
            igm_lines: blue.iter().map(|&w| IgmTable::lines_redward(w) as u8).collect(),
            igm,
            line_ln: arrays.line_angstrom.iter().map(|&w| scalar::ln(w)).collect(),
            line_attenuation: arrays.line_angstrom.iter().map(|&w| decay(w)).collect(),
            gas,
            options,
            library,
        })
    }

    /// Buffers for one thread.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        let arrays = self.library.arrays();
        Workspace {
            fractions: vec![0.0; arrays.age_edges_gyr.len() - 1],
            spectrum: vec![0.0; arrays.wave_edges_angstrom.len() - 1],
            lines: vec![0.0; arrays.line_angstrom.len()],
        }
    }

    /// Names of the bands, in the order of the fluxes.
    #[must_use]
    pub fn bands(&self) -> &[String] {
        &self.bands
    }

    /// The library in use.
    #[must_use]
    pub fn library(&self) -> &SspLibrary {
        &self.library
    }

    /// The options in use.
    #[must_use]
    pub fn options(&self) -> &ModelOptions {
        &self.options
    }

    /// Checks that the library holds what `components` ask for.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the library and the components that it can give.
    pub fn check_components(&self, components: Components) -> Result<(), SpsError> {
        check_components(&self.library, components)
    }

    /// Checks that parameters can be computed.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] naming the parameter.
    pub fn check(&self, p: &Parameters) -> Result<(), SpsError> {
        let (z_low, z_high) = self.library.metallicity_range();
        let age = cosmology::age_gyr(p.redshift);
        let crate::Sfh::Tau { tau_gyr, t_i_gyr } = p.sfh;
        for (name, value, low, high) in [
            ("redshift", p.redshift, f64::MIN_POSITIVE, Z_MAX),
            ("metallicity", p.metallicity, z_low - 1e-9, z_high + 1e-9),
            ("a_v", p.a_v, 0.0, 100.0),
            ("log_mass_formed", p.log_mass_formed, -30.0, 30.0),
            ("tau_gyr", tau_gyr, 1e-9, 1e9),
            // The largest double below the cosmic age.
            ("t_i_gyr", t_i_gyr, 0.0, age * (1.0 - f64::EPSILON)),
        ] {
            if !(value >= low && value <= high) {
                return Err(SpsError::OutOfRange { name, value, low, high });
            }
        }
        Ok(())
    }

    /// Noiseless band fluxes of one population, and what derives from it.
    ///
    /// `flux_njy`: one value per band, nJy.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] when a parameter cannot be computed;
    /// [`SpsError::Setting`] when the library does not hold the components.
    pub fn photometry(
        &self,
        p: &Parameters,
        components: Components,
        w: &mut Workspace,
        flux_njy: &mut [f64],
    ) -> Result<Derived, SpsError> {
        assert_eq!(flux_njy.len(), self.bands.len(), "one flux per band");
        self.check(p)?;
        self.check_components(components)?;
        let arrays = self.library.arrays();
        let out_of_range = SpsError::OutOfRange {
            name: "t_i_gyr",
            value: 0.0,
            low: 0.0,
            high: cosmology::age_gyr(p.redshift),
        };
        let history = History::new(p.sfh, cosmology::age_gyr(p.redshift)).ok_or(out_of_range)?;
        let ages = history.bin_fractions(&arrays.age_edges_gyr, &mut w.fractions);
        let metal = self.metal_weights(p.metallicity);

        // The uniform bins that any band sees.
        let ln_one_plus_z = scalar::ln_1p(p.redshift);
        let waves = w.spectrum.len();
        let bin = |ln_observed: f64| {
            ((ln_observed - ln_one_plus_z - self.ln_edge) / self.ln_step).max(0.0)
        };
        let low = (self.tail + bin(self.ln_range.0) as usize).min(waves);
        let high = (self.tail + bin(self.ln_range.1) as usize + 1).min(waves);
        let a_v = if components == Components::Stellar { 0.0 } else { p.a_v };
        let red = self.ln_range.1 - ln_one_plus_z;
        let reemits = self.options.dust_emission && a_v > 0.0 && red > DUST_EMISSION_LN;
        // Energy balance needs all of the spectrum.
        let (from, to) = if reemits { (0, waves) } else { (low, high) };

        let gas = (components == Components::Full).then_some(&self.gas);
        self.sum_spectrum(&w.fractions[..ages], metal, gas, from, &mut w.spectrum[from..to]);
        if let Some(gas) = gas {
            sum_lines(gas, &w.fractions[..ages], metal, &mut w.lines);
        } else {
            w.lines.fill(0.0);
        }

        let mut absorbed = 0.0;
        if a_v > 0.0 {
            let a_v = a_v as f32;
            for j in from..to {
                let before = w.spectrum[j];
                let after = before * lanes::exp_f32(a_v * self.attenuation[j]);
                w.spectrum[j] = after;
                if reemits {
                    absorbed += f64::from((before - after) * self.width[j]);
                }
            }
            for (line, &decay) in w.lines.iter_mut().zip(&self.line_attenuation) {
                let kept = f64::from(lanes::exp_f32(a_v * decay));
                absorbed += *line * (1.0 - kept);
                *line *= kept;
            }
        }
        if reemits {
            for j in low..high {
                w.spectrum[j] += absorbed as f32 * arrays.dust_emission[j];
            }
        }
        if let Some(igm) = &self.igm {
            let first = low - self.tail;
            let last = (high - self.tail).min(self.igm_ln_rest.len());
            if first < last {
                igm.absorb(
                    p.redshift,
                    &self.igm_ln_rest[first..last],
                    &self.igm_lines[first..last],
                    &mut w.spectrum[self.tail + first..self.tail + last],
                );
            }
        }
        self.integrate_bands(p.redshift, low, &w.spectrum[low..high], &w.lines, flux_njy);

        let distance_cm = cosmology::luminosity_distance_mpc(p.redshift) * CM_PER_MPC;
        let area = 4.0 * std::f64::consts::PI * distance_cm * distance_cm;
        let scale = scalar::exp10(p.log_mass_formed) * LSUN_ERG_S * NJY_PER_CGS
            / (area * (1.0 + p.redshift));
        flux_njy.iter_mut().for_each(|f| *f *= scale);
        Ok(self.derived(p, &history, &w.fractions[..ages], metal))
    }

    /// Masses, rates and ages without photometry; NaN in every field when the
    /// parameters cannot be computed.
    #[must_use]
    pub fn derive(&self, p: &Parameters) -> Derived {
        let edges = &self.library.arrays().age_edges_gyr;
        let history = match self.check(p) {
            Ok(()) => History::new(p.sfh, cosmology::age_gyr(p.redshift)),
            Err(_) => None,
        };
        let Some(history) = history else {
            return Derived {
                log_mass_stellar: f64::NAN,
                log_sfr_100: f64::NAN,
                mass_weighted_age_gyr: f64::NAN,
                sfr_floored: false,
            };
        };
        let mut fractions = [0.0; 256];
        let bins = edges.len() - 1;
        let metal = self.metal_weights(p.metallicity);
        if bins <= fractions.len() {
            let ages = history.bin_fractions(edges, &mut fractions[..bins]);
            return self.derived(p, &history, &fractions[..ages], metal);
        }
        let mut fractions = vec![0.0; bins];
        let ages = history.bin_fractions(edges, &mut fractions);
        self.derived(p, &history, &fractions[..ages], metal)
    }

    fn derived(
        &self,
        p: &Parameters,
        history: &History,
        fractions: &[f64],
        metal: [(usize, f64); 2],
    ) -> Derived {
        let arrays = self.library.arrays();
        let ages = arrays.age_edges_gyr.len() - 1;
        let mut remaining = 0.0;
        for (z, weight) in metal {
            let row = &arrays.remaining_mass[z * ages..(z + 1) * ages];
            let sum: f64 = row.iter().zip(fractions).map(|(kept, mass)| kept * mass).sum();
            remaining += weight * sum;
        }
        let (log_ssfr, sfr_floored) = sfh::log_ssfr_100(history);
        Derived {
            log_mass_stellar: p.log_mass_formed + scalar::log10(remaining),
            log_sfr_100: p.log_mass_formed + log_ssfr,
            mass_weighted_age_gyr: history.mean_age_gyr(),
            sfr_floored,
        }
    }

    /// The two metallicities around [M/H] with their weights.
    fn metal_weights(&self, metallicity: f64) -> [(usize, f64); 2] {
        let grid = &self.library.arrays().metallicity;
        let above = grid.partition_point(|&z| z <= metallicity).clamp(1, grid.len() - 1);
        let (low, high) = (grid[above - 1], grid[above]);
        let part = match self.options.metallicity_scale {
            MetallicityScale::LogZ => (metallicity - low) / (high - low),
            MetallicityScale::LinearZ => {
                let z = [low, high, metallicity].map(scalar::exp10);
                (z[2] - z[0]) / (z[1] - z[0])
            }
        };
        let part = part.clamp(0.0, 1.0);
        [(above - 1, 1.0 - part), (above, part)]
    }

    /// Sums SSPs into `spectrum`, whose first bin is bin `from` of the grid.
    fn sum_spectrum(
        &self,
        fractions: &[f64],
        metal: [(usize, f64); 2],
        gas: Option<&Emission>,
        from: usize,
        spectrum: &mut [f32],
    ) {
        let arrays = self.library.arrays();
        let (ages, waves) = (arrays.age_edges_gyr.len() - 1, self.attenuation.len());
        for (block, out) in spectrum.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0.0f32; BLOCK];
            let sums = &mut sums[..out.len()];
            let at = from + block * BLOCK;
            for (z, weight) in metal {
                if weight == 0.0 {
                    continue;
                }
                for (age, &fraction) in fractions.iter().enumerate() {
                    let mass = (weight * fraction) as f32;
                    if mass == 0.0 {
                        continue;
                    }
                    let row = match gas {
                        Some(gas) if age < gas.ages => {
                            &gas.young[(z * gas.ages + age) * waves + at..][..sums.len()]
                        }
                        _ => &arrays.stellar[(z * ages + age) * waves + at..][..sums.len()],
                    };
                    for (sum, light) in sums.iter_mut().zip(row) {
                        *sum += mass * light;
                    }
                }
            }
            out.copy_from_slice(sums);
        }
    }

    /// `spectrum`: from bin `low` of the grid; `flux`: per Lsun, before the distance.
    fn integrate_bands(
        &self,
        z: f64,
        low: usize,
        spectrum: &[f32],
        lines: &[f64],
        flux: &mut [f64],
    ) {
        let ln_one_plus_z = scalar::ln_1p(z);
        let ln_edge = self.ln_edge + (low - self.tail) as f64 * self.ln_step + ln_one_plus_z;
        for (flux, table) in flux.iter_mut().zip(&self.tables) {
            *flux = table.integrate(ln_edge, spectrum);
        }
        for (&line, &ln_rest) in lines.iter().zip(&self.line_ln) {
            let ln_observed = ln_rest + ln_one_plus_z;
            if line == 0.0 || ln_observed < self.ln_range.0 || ln_observed > self.ln_range.1 {
                continue;
            }
            let kept = self.line_transmission(ln_rest, z);
            // A line's flux per Angstrom shrinks by 1 + z less than a spectrum's does.
            let strength = line * kept * (1.0 + z);
            for (flux, table) in flux.iter_mut().zip(&self.tables) {
                *flux += strength * table.line(ln_observed);
            }
        }
    }

    fn line_transmission(&self, ln_rest: f64, z: f64) -> f64 {
        let wave = scalar::exp(ln_rest);
        if self.igm.is_none() || wave > LYMAN_ALPHA_ANGSTROM * (1.0 + 1e-6) {
            return 1.0;
        }
        // A Lyman line meets the gas in front of it: just blueward of itself.
        igm::inoue_transmission(wave * (1.0 - 1e-6), z)
    }
}
