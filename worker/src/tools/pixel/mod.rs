//! What is made of the posterior of one pixel: corner plot, star-formation
//! histories, posterior predictive check, and the tables behind them.

mod check;
mod choose;
mod external;
mod histories;
mod tables;

pub use check::{Prediction, predict};
pub use choose::{Candidate, brightest, outside};
pub use external::External;
pub use tables::predictive_table;

use crate::stages::again::Inferred;
use crate::stages::{Science, StageError};
use crate::tools::words::narrow;
use bytes::Bytes;
use outshine_figures::FigureError;
use outshine_figures::canvas::Figure;
use outshine_figures::corner::{self, Corner, Posterior};
use outshine_figures::history;
use outshine_figures::predictive::{self, Check};
use outshine_kernels::quantile;
use outshine_sps::{Parameters, SfhFamily, cosmology};

/// Why a pixel has no figures.
#[derive(Debug, thiserror::Error)]
pub enum PixelError {
    /// A figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The forward model, or a table.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The forward model.
    #[error(transparent)]
    Sps(#[from] outshine_sps::SpsError),
}

/// Parameters shown, of those that a family reports.
const SHOWN: [&str; 10] = [
    "log_mass_stellar",
    "log_sfr_100",
    "log_tau_gyr",
    "t_i_gyr",
    "t25",
    "t50",
    "t75",
    "mass_weighted_age_gyr",
    "a_v",
    "metallicity",
];
const REDSHIFT: &str = "redshift";

/// A pixel's posterior by one campaign.
pub struct Model<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The campaign's models.
    pub science: &'a Science,
    /// The campaign's seed.
    pub seed: u64,
    /// The posterior.
    pub pixel: &'a Inferred,
}

impl Model<'_> {
    fn has(&self, name: &str) -> bool {
        name == REDSHIFT || self.science.reported.contains(&name)
    }

    /// Draws of a parameter, if the family has it.
    fn draws(&self, name: &str) -> Option<Vec<f64>> {
        if !self.has(name) {
            return None;
        }
        if name == REDSHIFT {
            return Some(self.pixel.redshift.clone());
        }
        Some(self.pixel.draws.of(name).iter().map(|&v| f64::from(v)).collect())
    }

    fn truth(&self, name: &str) -> Option<f64> {
        let place = self.science.reported.iter().position(|n| *n == name)?;
        self.pixel.truth.as_ref().map(|truth| truth[place])
    }

    /// How many draws there are.
    fn count(&self) -> usize {
        self.pixel.draws.of("a_v").len()
    }

    /// The redshift, or the median of those of the draws.
    fn median_redshift(&self) -> f64 {
        let mut all = self.pixel.redshift.clone();
        quantile::sort(&mut all);
        quantile::of_sorted(&all, 0.5)
    }

    /// The redshift of draw `k`.
    fn redshift(&self, k: usize) -> f64 {
        self.pixel.redshift[k.min(self.pixel.redshift.len() - 1)]
    }

    /// Free coordinates and, last, the redshift, of what is reported.
    fn point(&self, of: impl Fn(&str) -> f64, redshift: f64) -> Vec<f64> {
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.5 };
        let coordinate = |name: &&str| match *name {
            "log_ssfr_100" => of("log_sfr_100") - of("log_mass_formed"),
            "t25_over_t50" => ratio(of("t25"), of("t50")),
            "t50_over_t75" => ratio(of("t50"), of("t75")),
            name => of(name),
        };
        self.science.free.iter().map(coordinate).chain([redshift]).collect()
    }

    /// The population of draw `k`; `recent`: see [`crate::stages::typical`].
    fn population(&self, k: usize, recent: impl FnOnce(f64) -> f64) -> Parameters {
        let of = |name: &str| f64::from(self.pixel.draws.of(name)[k]);
        let mut point = self.point(of, self.redshift(k));
        crate::stages::typical::population(self.science, &mut point, recent)
    }

    /// The true population, where it and its redshift are known.
    fn true_population(&self) -> Option<Parameters> {
        if !self.pixel.known_redshift {
            return None;
        }
        self.pixel.truth.as_ref()?;
        let of = |name: &str| self.truth(name).unwrap_or(f64::NAN);
        let mut point = self.point(of, self.redshift(0));
        Some(crate::stages::typical::population(self.science, &mut point, |mean| mean))
    }

    fn is_tau(&self) -> bool {
        self.science.prior.sfh == SfhFamily::Tau
    }

    fn family(&self) -> &'static str {
        if self.is_tau() { "tau-delayed" } else { "Dirichlet" }
    }
}

/// The files of a pixel.
pub struct Products {
    /// Figures and the beginning of their names.
    pub figures: [(&'static str, Figure); 3],
    /// The draws.
    pub draws: Bytes,
    /// The check, band by band, as Parquet and as CSV.
    pub bands: (Bytes, Vec<u8>),
    /// The check as a whole.
    pub prediction: Prediction,
}

/// Makes everything of a pixel; `other`: the same pixel by another campaign.
///
/// # Errors
/// [`PixelError`]; another campaign's pixel that has other fluxes.
pub fn make(
    own: &Model<'_>,
    other: Option<&Model<'_>>,
    external: Option<&External>,
) -> Result<Products, PixelError> {
    if let Some(other) = other {
        same_fluxes(own, other)?;
    }
    let title = title(own);
    let (prediction, figure) = checked(own)?;
    let names: Vec<String> =
        [Some(own), other].into_iter().flatten().map(|m| legend(m, other)).collect();
    let (draws, bands) = (tables::draws(own)?, tables::bands(own, &prediction)?);
    let figures = [
        ("corner", corner(own, other, external, &title, &names)?),
        ("history", history(own, other, &title, &names)?),
        ("predictive", figure),
    ];
    Ok(Products { figures, draws, bands, prediction })
}

/// The posterior predictive check of a pixel, and its figure.
///
/// # Errors
/// [`PixelError`] of the forward model or the figure.
pub fn checked(own: &Model<'_>) -> Result<(Prediction, Figure), PixelError> {
    let prediction = check::predict(own)?;
    let figure = predictive(own, &prediction, &title(own))?;
    Ok((prediction, figure))
}

/// Refuses to compare what was inferred of different data.
fn same_fluxes(own: &Model<'_>, other: &Model<'_>) -> Result<(), PixelError> {
    let bands = |model: &Model<'_>| model.science.target.features.bands().to_vec();
    let others = bands(other);
    let mut shared = 0;
    for (band, flux) in bands(own).iter().zip(&own.pixel.flux_njy) {
        let Some(place) = others.iter().position(|b| b == band) else { continue };
        let theirs = other.pixel.flux_njy[place];
        shared += 1;
        if (flux - theirs).abs() > 1e-5 * flux.abs() {
            let problem = format!(
                "{}: {band} is {flux} nJy in campaign `{}` and {theirs} nJy in campaign `{}`: \
                 compare campaigns of the same pixel table (a mock is made from its own prior)",
                own.pixel.spot, own.name, other.name
            );
            return Err(StageError::Permanent(problem).into());
        }
    }
    if shared == 0 {
        let problem = format!(
            "campaigns `{}` and `{}` have no band in common: nothing tells whether they are of the \
             same pixels",
            own.name, other.name
        );
        return Err(StageError::Permanent(problem).into());
    }
    Ok(())
}

/// A p-value as people read it, after a sign that says how it compares: none for
/// equal, in a table.
#[must_use]
pub fn p_value(p: f64, equals: &str) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{equals}{p:.3}") }
}

/// Parameters that figures show of a family.
#[must_use]
pub fn shown(science: &Science) -> Vec<&'static str> {
    SHOWN.into_iter().filter(|name| science.reported.contains(name)).collect()
}

fn title(own: &Model<'_>) -> String {
    let pixel = own.pixel;
    let redshift = match pixel.known_redshift {
        true => format!("z = {:.3}", own.redshift(0)),
        false => format!("median z = {:.2}", own.median_redshift()),
    };
    let (galaxy, x, y) = (pixel.spot.galaxy_id, pixel.spot.x, pixel.spot.y);
    format!("Galaxy {galaxy}, pixel ({x}, {y}), {redshift}, S/N = {:.1}", pixel.mean_snr)
}

fn legend(model: &Model<'_>, other: Option<&Model<'_>>) -> String {
    match other {
        None => format!("{}, {} draws", model.family(), model.count()),
        Some(_) => format!("{} ({})", model.family(), model.name),
    }
}

fn corner(
    own: &Model<'_>,
    other: Option<&Model<'_>>,
    external: Option<&External>,
    title: &str,
    names: &[String],
) -> Result<Figure, PixelError> {
    let mut shown = shown(own.science);
    // Another family is compared in what both have.
    if let Some(other) = other {
        shown.retain(|name| other.has(name));
    }
    if own.pixel.redshift.len() > 1 {
        shown.push(REDSHIFT);
    }
    let of = |model: &Model<'_>| shown.iter().map(|name| model.draws(name)).collect();
    let mut posteriors = vec![Posterior { name: &names[0], draws: of(own) }];
    if let Some(other) = other {
        posteriors.push(Posterior { name: &names[1], draws: of(other) });
    }
    if let Some(external) = external {
        let draws = shown.iter().map(|name| external.of(name).map(<[f64]>::to_vec)).collect();
        posteriors.push(Posterior { name: &external.name, draws });
    }
    let labels: Vec<&str> = shown.iter().map(|name| narrow(name)).collect();
    let truth: Vec<Option<f64>> = shown.iter().map(|name| own.truth(name)).collect();
    let note = format!("campaign {}", own.name);
    let posteriors = &posteriors;
    let corner = Corner { title, note: &note, labels: &labels, truth: &truth, posteriors };
    Ok(corner::draw(&corner)?)
}

fn history(
    own: &Model<'_>,
    other: Option<&Model<'_>>,
    title: &str,
    names: &[String],
) -> Result<Figure, PixelError> {
    let models: Vec<&Model<'_>> = [Some(own), other].into_iter().flatten().collect();
    let mut all = Vec::new();
    for model in &models {
        all.push(histories::of(model)?);
    }
    let histories: Vec<history::History<'_>> = all
        .iter()
        .zip(names)
        .map(|(h, name)| history::History {
            name,
            lookback_gyr: &h.lookback_gyr,
            draws: &h.draws,
            band: [&h.band[0], &h.band[1], &h.band[2]],
            truth: h.truth.as_deref(),
        })
        .collect();
    let age_gyr = cosmology::age_gyr(own.median_redshift());
    let at = if own.pixel.known_redshift { "" } else { " at the median redshift" };
    let approximate = match models.iter().all(|m| m.is_tau()) {
        true => "",
        false => "\nDirichlet: through t_{25%}, t_{50%}, t_{75%} and the rate, approximate",
    };
    let note = format!("age of the universe {age_gyr:.2} Gyr{at}{approximate}");
    Ok(history::draw(title, &note, &histories)?)
}

fn predictive(own: &Model<'_>, prediction: &Prediction, title: &str) -> Result<Figure, PixelError> {
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let (flux, err) = (wide(&own.pixel.flux_njy), wide(&own.pixel.err_njy));
    let check = &prediction.check;
    let what = if prediction.exact { "exact posterior" } else { "draws" };
    let dark = if err.iter().all(|e| *e > 0.0) { "" } else { "; grey: not observed" };
    let note = format!(
        "posterior predictive p {}, smallest \u{3c7}^{{2}} = {:.1} in {} bands; bars: 68 and \
         95 % of the {what}{dark}",
        p_value(check.p_value, "= "),
        check.least,
        check.bands
    );
    let percentiles = &prediction.percentiles_njy;
    let pivots = own.science.forward.pivots_angstrom();
    let wave_um: Vec<f64> = pivots.iter().map(|angstrom| angstrom * 1e-4).collect();
    Ok(predictive::draw(&Check {
        title,
        note: &note,
        bands: own.science.target.features.bands(),
        wave_um: &wave_um,
        flux_njy: &flux,
        err_njy: &err,
        model_njy: std::array::from_fn(|i| percentiles[i].as_slice()),
    })?)
}
