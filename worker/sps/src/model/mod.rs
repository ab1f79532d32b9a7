//! The forward model: parameters of one stellar population to band fluxes.
//!
//! L_lambda = sum over age bins of (mass fraction) x (SSP of the bin), linear
//! in log Z between two metallicities (surviving mass: linear in Z); then attenuation, dust emission in
//! energy balance, the IGM, and
//! f_lambda(lambda (1+z)) = L_lambda / (4 pi D_L^2 (1+z)).
//!
//! With nebular emission on, stars younger than `nebular_max_age_gyr` lose
//! their Lyman continuum to the gas and gain its lines and continuum. Lines
//! are kept apart from the binned spectrum and meet the filters at their own
//! wavelengths. Dust attenuates stars, gas and lines alike, unless birth
//! clouds are asked for.
//!
//! This is the model at the library's full resolution. [`crate::grid`] holds
//! the same model integrated through the bands beforehand: for many
//! simulations, and for likelihoods.

mod spectrum;
mod weights;

pub use crate::igm::IgmModel;
pub use spectrum::{Frame, Spectrum};
pub use weights::{AgeBinning, MetallicityScale};

use crate::cosmology;
use crate::dust::Attenuation;
use crate::error::SpsError;
use crate::filters::{BandTable, Filter, FilterSet};
use crate::gas::{Emission, check_components, gas_emission};
use crate::igm::{IgmTable, LYMAN_ALPHA_ANGSTROM};
use crate::library::SspLibrary;
use crate::sfh::{self, History, Parameters};
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weights::{AgeWeights, Moments, metal_weights};

/// Luminosity of the Sun, erg/s (IAU 2015).
pub(crate) const LSUN_ERG_S: f64 = 3.828e33;
/// Centimetres in a megaparsec.
const CM_PER_MPC: f64 = 3.085_677_581_491_367e24;
/// nJy in erg/s/cm^2/Hz.
const NJY_PER_CGS: f64 = 1e32;
/// Redshifts that can be computed; at 0 no flux is finite.
pub(crate) const Z_MAX: f64 = 20.0;

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
    /// Attenuation by dust.
    pub attenuation: Attenuation,
    /// Re-emission by dust of what it absorbed.
    pub dust_emission: bool,
    /// Interpolation between metallicities.
    pub metallicity_scale: MetallicityScale,
    /// How the mass formed is put into age bins.
    pub age_binning: AgeBinning,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            igm: IgmModel::default(),
            log_u: -2.0,
            nebular_max_age_gyr: 0.01,
            attenuation: Attenuation::default(),
            dust_emission: true,
            metallicity_scale: MetallicityScale::default(),
            age_binning: AgeBinning::default(),
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

impl Derived {
    /// What is known of parameters that cannot be computed.
    const NAN: Self = Self {
        log_mass_stellar: f64::NAN,
        log_sfr_100: f64::NAN,
        mass_weighted_age_gyr: f64::NAN,
        sfr_floored: false,
    };
}

/// Buffers of one thread, so that no call allocates.
pub struct Workspace {
    fractions: Vec<f64>,
    weights: Vec<f32>,
    spectrum: Vec<f32>,
    young: Vec<f32>,
    lines: Vec<f64>,
}

/// A screen of dust: -0.4 ln(10) A(lambda) / A_V per wavelength bin and per line.
pub(crate) struct Screen {
    pub bins: Vec<f32>,
    pub lines: Vec<f32>,
}

/// The screens of an [`Attenuation`].
pub(crate) struct Screens {
    /// In front of every star.
    pub diffuse: Screen,
    /// In front of the leading age bins instead, and of the gas.
    pub young: Option<(usize, Screen)>,
}

impl Screens {
    fn new(attenuation: &Attenuation, library: &SspLibrary) -> Self {
        let a = library.arrays();
        let centres = a.wave_edges_angstrom.windows(2).map(|w| (w[0] * w[1]).sqrt());
        let screen = |ratio: &dyn Fn(f64) -> f64| {
            let decay = |wave| (-0.4 * std::f64::consts::LN_10 * ratio(wave)) as f32;
            Screen {
                bins: centres.clone().map(decay).collect(),
                lines: a.line_angstrom.iter().map(|&wave| decay(wave)).collect(),
            }
        };
        let young = attenuation.birth_clouds.as_ref().map(|clouds| {
            let bins = a.age_edges_gyr.windows(2);
            let ages = bins.take_while(|w| 0.5 * (w[0] + w[1]) < clouds.max_age_gyr).count();
            (ages, screen(&|wave| attenuation.young_ratio(wave)))
        });
        Self { diffuse: screen(&|wave| attenuation.diffuse_ratio(wave)), young }
    }

    /// The screen in front of the gas.
    pub fn of_gas(&self) -> &Screen {
        self.young.as_ref().map_or(&self.diffuse, |(_, screen)| screen)
    }
}

/// The forward model: a library, bands and options, with everything that does
/// not depend on parameters worked out once. Shared between threads.
pub struct ForwardModel {
    library: Arc<SspLibrary>,
    options: ModelOptions,
    bands: Vec<String>,
    pivot_angstrom: Vec<f64>,
    pub(crate) tables: Vec<BandTable>,
    pub(crate) ln_range: (f64, f64),
    /// Uniform bins: first index, ln of the first edge, step.
    pub(crate) tail: usize,
    pub(crate) ln_edge: f64,
    pub(crate) ln_step: f64,
    pub(crate) screens: Screens,
    /// Width of each wavelength bin, Angstrom.
    pub(crate) width: Vec<f32>,
    /// Per uniform bin bluer than Lyman alpha: ln of its centre, lines redward of it.
    igm_ln_rest: Vec<f64>,
    igm_lines: Vec<u8>,
    igm: Option<IgmTable>,
    pub(crate) line_ln: Vec<f64>,
    pub(crate) gas: Emission,
    /// First wavelength bin in which dust emits.
    pub(crate) first_dust: usize,
    ages: AgeWeights,
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
        options.attenuation.validate()?;
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
        let width = edges.windows(2).map(|w| (w[1] - w[0]) as f32).collect();
        let blue: Vec<f64> =
            (tail..edges.len() - 1).map(centre).take_while(|&w| w < LYMAN_ALPHA_ANGSTROM).collect();
        let igm = (options.igm != IgmModel::None).then(|| {
            IgmTable::new(options.igm, scalar::exp(ln_range.0) * 0.98, Z_MAX, 0.5 * ln_step)
        });
        let gas = gas_emission(&library, &options)?;
        Ok(Self {
            bands: filters.names().to_vec(),
            pivot_angstrom: filters.filters().iter().map(Filter::pivot_angstrom).collect(),
            tables,
            ln_range,
            tail,
            ln_edge,
            ln_step,
            screens: Screens::new(&options.attenuation, &library),
            width,
            igm_ln_rest: blue.iter().map(|&w| scalar::ln(w)).collect(),
            igm_lines: blue.iter().map(|&w| IgmTable::lines_redward(w) as u8).collect(),
            igm,
            line_ln: arrays.line_angstrom.iter().map(|&w| scalar::ln(w)).collect(),
            gas,
            first_dust: arrays.dust_emission.partition_point(|&share| share == 0.0),
            ages: AgeWeights::new(options.age_binning, arrays),
            options,
            library,
        })
    }

    /// Buffers for one thread.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        let arrays = self.library.arrays();
        let (ages, waves) = (arrays.age_edges_gyr.len() - 1, arrays.wave_edges_angstrom.len() - 1);
        Workspace {
            fractions: vec![0.0; ages],
            weights: vec![0.0; ages],
            spectrum: vec![0.0; waves],
            young: vec![0.0; if self.screens.young.is_some() { waves } else { 0 }],
            lines: vec![0.0; arrays.line_angstrom.len()],
        }
    }

    /// Names of the bands, in the order of the fluxes.
    #[must_use]
    pub fn bands(&self) -> &[String] {
        &self.bands
    }

    /// Pivot wavelengths of the bands, Angstrom.
    #[must_use]
    pub fn pivots_angstrom(&self) -> &[f64] {
        &self.pivot_angstrom
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
        for (name, value, low, high) in [
            ("redshift", p.redshift, f64::MIN_POSITIVE, Z_MAX),
            ("metallicity", p.metallicity, z_low - 1e-9, z_high + 1e-9),
            ("a_v", p.a_v, 0.0, 100.0),
            ("log_mass_formed", p.log_mass_formed, -30.0, 30.0),
        ] {
            if !(value >= low && value <= high) {
                return Err(SpsError::OutOfRange { name, value, low, high });
            }
        }
        p.sfh.check(cosmology::age_gyr(p.redshift))
    }

    /// Checks parameters and works out their mass per age bin.
    pub(crate) fn population(
        &self,
        p: &Parameters,
        fractions: &mut [f64],
    ) -> Result<Population, SpsError> {
        self.check(p)?;
        let arrays = self.library.arrays();
        let cosmic_age_gyr = cosmology::age_gyr(p.redshift);
        let history = History::new(&p.sfh, cosmic_age_gyr)?;
        let edges = &arrays.age_edges_gyr;
        let (ages, sampled) =
            self.ages.fractions(&p.sfh, cosmic_age_gyr, &history, edges, fractions);
        let scale = self.options.metallicity_scale;
        let metal = metal_weights(scale, &arrays.metallicity, p.metallicity);
        let mass_scale = MetallicityScale::LinearZ;
        let metal_of_mass = metal_weights(mass_scale, &arrays.metallicity, p.metallicity);
        Ok(Population { history, ages, metal, metal_of_mass, sampled })
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
        self.check_components(components)?;
        let population = self.population(p, &mut w.fractions)?;

        // The uniform bins that any band sees.
        let ln_one_plus_z = scalar::ln_1p(p.redshift);
        let waves = w.spectrum.len();
        let bin = |ln_observed: f64| {
            ((ln_observed - ln_one_plus_z - self.ln_edge) / self.ln_step).max(0.0)
        };
        let low = (self.tail + bin(self.ln_range.0) as usize).min(waves);
        let high = (self.tail + bin(self.ln_range.1) as usize + 1).min(waves);
        self.emerge(p.a_v, components, &population, (low, high), w);
        self.absorb(p.redshift, (low, high), w);
        self.integrate_bands(p.redshift, low, &w.spectrum[low..high], &w.lines, flux_njy);
        let scale = njy_per_lsun(p.log_mass_formed, p.redshift);
        flux_njy.iter_mut().for_each(|f| *f *= scale);
        Ok(self.derived(p, &population, &w.fractions))
    }

    /// Masses, rates and ages without photometry; NaN in every field when the
    /// parameters cannot be computed.
    #[must_use]
    pub fn derive(&self, p: &Parameters) -> Derived {
        let bins = self.library.arrays().age_edges_gyr.len() - 1;
        let (mut few, mut many) = ([0.0; 128], Vec::new());
        let fractions = if bins <= few.len() {
            &mut few[..bins]
        } else {
            many.resize(bins, 0.0);
            &mut many
        };
        match self.population(p, fractions) {
            Ok(population) => self.derived(p, &population, fractions),
            Err(_) => Derived::NAN,
        }
    }

    /// How long ago half of the mass had formed, Gyr.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] when a parameter cannot be computed.
    pub fn t50_lookback_gyr(&self, p: &Parameters) -> Result<f64, SpsError> {
        self.check(p)?;
        let history = History::new(&p.sfh, cosmology::age_gyr(p.redshift))?;
        Ok(history.age_at_fraction(0.5))
    }

    /// `fractions`: those that [`ForwardModel::population`] worked out.
    pub(crate) fn derived(
        &self,
        p: &Parameters,
        population: &Population,
        fractions: &[f64],
    ) -> Derived {
        let arrays = self.library.arrays();
        let ages = arrays.age_edges_gyr.len() - 1;
        let mut remaining = 0.0;
        for (z, weight) in population.metal_of_mass {
            let row = &arrays.remaining_mass[z * ages..][..population.ages];
            let sum: f64 = row.iter().zip(fractions).map(|(kept, mass)| kept * mass).sum();
            remaining += weight * sum;
        }
        let (log_ssfr, sfr_floored) = match population.sampled {
            Some(moments) => sfh::floored(moments.recent_per_gyr, 9.0),
            None => sfh::log_ssfr_100(&population.history),
        };
        let exact = || population.history.mean_age_gyr();
        Derived {
            log_mass_stellar: p.log_mass_formed + scalar::log10(remaining),
            log_sfr_100: p.log_mass_formed + log_ssfr,
            mass_weighted_age_gyr: population.sampled.map_or_else(exact, |m| m.mean_age_gyr),
            sfr_floored,
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
        for (i, (&line, &ln_rest)) in lines.iter().zip(&self.line_ln).enumerate() {
            let ln_observed = ln_rest + ln_one_plus_z;
            if line == 0.0 || ln_observed < self.ln_range.0 || ln_observed > self.ln_range.1 {
                continue;
            }
            // A line's flux per Angstrom shrinks by 1 + z less than a spectrum's does.
            let strength = line * self.line_transmission(i, z) * (1.0 + z);
            for (flux, table) in flux.iter_mut().zip(&self.tables) {
                *flux += strength * table.line(ln_observed);
            }
        }
    }
}

/// One population, ready to be summed: its history, the number of leading age
/// bins that hold mass, and its two metallicities with weights in its light
/// and in its surviving mass.
pub(crate) struct Population {
    pub history: History,
    pub ages: usize,
    pub metal: [(usize, f64); 2],
    pub metal_of_mass: [(usize, f64); 2],
    pub sampled: Option<Moments>,
}

/// nJy per unit of band-integrated luminosity, for a mass at a redshift.
pub(crate) fn njy_per_lsun(log_mass_formed: f64, z: f64) -> f64 {
    njy_per_lsun_at(log_mass_formed, z, cosmology::luminosity_distance_mpc(z) / (1.0 + z))
}

/// The same, given the comoving distance.
pub(crate) fn njy_per_lsun_at(log_mass_formed: f64, z: f64, comoving_mpc: f64) -> f64 {
    scalar::exp10(log_mass_formed) * flux_per_luminosity(z, comoving_mpc) * NJY_PER_CGS
}

/// From Lsun/Angstrom at the source to erg/s/cm^2/Angstrom at the observer.
pub(crate) fn flux_per_luminosity(z: f64, comoving_mpc: f64) -> f64 {
    let distance_cm = comoving_mpc * (1.0 + z) * CM_PER_MPC;
    LSUN_ERG_S / (4.0 * std::f64::consts::PI * distance_cm * distance_cm * (1.0 + z))
}
