//! Maps, panels and profiles of the galaxies of a campaign, from the summaries
//! of its fit and the pixels of its field.

mod ecsv;
mod header;
mod pixels;
mod profile;

pub use ecsv::ecsv;
pub use pixels::{Pixels, Quantity};
pub use profile::{Rows, parquet as profile_parquet, table as profile_table};

use super::words::{label, per_pixel, sigma};
use crate::stages::{Science, StageError};
use outshine_catalogue::shape::{self, HalfMass};
use outshine_figures::canvas::Figure;
use outshine_figures::colours::ColourMap;
use outshine_figures::fits::{self, Plane, Values};
use outshine_figures::frame::Frame;
use outshine_figures::panel::{self, Layer, Panel, Sky};
use outshine_figures::{FigureError, rgb};
use outshine_kernels::scalar;
use outshine_schemas::campaign::{Campaign, Image};
use outshine_sps::cosmology;

/// Radians in an arcsecond.
const ARCSEC: f64 = std::f64::consts::PI / 648_000.0;

/// Why a galaxy has no maps.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// Its pixels make no map, or a figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A table cannot be read or made.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// How a redshift was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedshiftOrigin {
    /// Known beforehand.
    Known,
    /// The median of the fit.
    Fitted,
    /// The median of a given distribution.
    Given,
}

impl RedshiftOrigin {
    /// As headers and titles have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Fitted => "fitted",
            Self::Given => "given",
        }
    }
}

/// A galaxy to map: what is known of it as a whole.
#[derive(Clone, Debug)]
pub struct Galaxy {
    /// Its id.
    pub galaxy_id: i64,
    /// Its redshift, and how it was come by.
    pub redshift: Option<(f64, RedshiftOrigin)>,
}

/// The files of a galaxy, and its rows of the table of profiles.
#[derive(Debug)]
pub struct Products {
    /// Maps.
    pub fits: Vec<u8>,
    /// Colour image, maps and uncertainties.
    pub panel: Figure,
    /// Profiles; none where no pixel was fitted.
    pub profile: Option<Figure>,
    /// Rows of the table of profiles.
    pub rows: Rows,
    /// Fitted pixels.
    pub fitted: usize,
}

/// Makes the maps of one campaign.
pub struct Mapper {
    bands: Vec<String>,
    /// Natural logarithms of the pivot wavelengths, by band.
    ln_pivot: Vec<f64>,
    reported: &'static [&'static str],
    image: Image,
    campaign: String,
    model: String,
}

/// A galaxy's scales.
#[derive(Clone, Copy, Debug)]
struct Scales {
    sky: Sky,
    /// Proper area of a pixel, where scale and redshift are known.
    pixel_kpc2: Option<f64>,
}

impl Mapper {
    /// For a campaign called `id` whose estimator has the digest `model`; the
    /// sky is that of `campaign.field.image`.
    ///
    /// # Errors
    /// What is wrong with the campaign.
    pub fn new(campaign: &Campaign, id: &str, model: &str) -> Result<Self, StageError> {
        let science = Science::new(campaign)?;
        let pivots = science.forward.pivots_angstrom();
        Ok(Self {
            bands: campaign.bands.clone(),
            ln_pivot: pivots.iter().map(|&pivot| scalar::ln(pivot)).collect(),
            reported: science.reported,
            image: campaign.field.image.clone().unwrap_or_default(),
            campaign: id.to_owned(),
            model: model.to_owned(),
        })
    }

    /// The bands of the campaign.
    #[must_use]
    pub fn bands(&self) -> &[String] {
        &self.bands
    }

    /// Whether histories are of the Dirichlet family, which has a t50.
    #[must_use]
    pub fn has_t50(&self) -> bool {
        self.reported.contains(&pixels::T50)
    }

    /// The panel of a galaxy alone, as SVG.
    ///
    /// # Errors
    /// As [`Mapper::make`].
    pub fn panel_svg(&self, galaxy: &Galaxy, pixels: &Pixels) -> Result<String, MapsError> {
        let frame = Frame::around(&pixels.x, &pixels.y)?;
        Ok(self.panel(galaxy, pixels, &frame, &self.scales(galaxy))?.svg)
    }

    fn scales(&self, galaxy: &Galaxy) -> Scales {
        let pixel_arcsec = self.image.scale_arcsec();
        let redshift = galaxy.redshift.map(|(z, _)| z).filter(|z| *z > 0.0 && z.is_finite());
        let kpc_per_arcsec = redshift.map(|z| {
            let angular_mpc = cosmology::luminosity_distance_mpc(z) / ((1.0 + z) * (1.0 + z));
            angular_mpc * 1e3 * ARCSEC
        });
        let pixel_kpc2 = pixel_arcsec.zip(kpc_per_arcsec).map(|(side, kpc)| {
            let side_kpc = side * kpc;
            side_kpc * side_kpc
        });
        let psf_fwhm_arcsec = self.image.psf_fwhm_arcsec;
        Scales { sky: Sky { pixel_arcsec, kpc_per_arcsec, psf_fwhm_arcsec }, pixel_kpc2 }
    }

    /// Makes everything of a galaxy from its pixels.
    ///
    /// # Errors
    /// [`MapsError`].
    pub fn make(&self, galaxy: &Galaxy, pixels: &Pixels) -> Result<Products, MapsError> {
        let frame = Frame::around(&pixels.x, &pixels.y)?;
        let scales = self.scales(galaxy);
        let mass = pixels.mass_msun();
        let half_mass = shape::half_mass(&pixels.x, &pixels.y, &mass);
        let fits = self.fits(galaxy, pixels, &frame, &scales, half_mass)?;
        let panel = self.panel(galaxy, pixels, &frame, &scales)?;
        let rows = Rows::new(galaxy.galaxy_id, pixels, &mass, &scales, half_mass);
        let profile = match rows.is_empty() {
            true => None,
            false => Some(rows.draw(&self.title(galaxy), &scales, self.has_t50())?),
        };
        Ok(Products { fits, panel, profile, rows, fitted: pixels.fitted() })
    }

    fn title(&self, galaxy: &Galaxy) -> String {
        let redshift = match galaxy.redshift {
            None => "redshift unknown".to_owned(),
            Some((z, RedshiftOrigin::Known)) => format!("z = {z:.3}"),
            Some((z, origin)) => format!("z = {z:.2} ({})", origin.name()),
        };
        format!("Galaxy {}, {redshift}", galaxy.galaxy_id)
    }

    fn fits(
        &self,
        galaxy: &Galaxy,
        pixels: &Pixels,
        frame: &Frame,
        scales: &Scales,
        half_mass: Option<HalfMass>,
    ) -> Result<Vec<u8>, FigureError> {
        let mut planes = Vec::new();
        let mut add = |name: &str, unit: &str, meaning: &str, quantity: &Quantity| {
            let sigma = quantity.sigma();
            for (end, what, values) in
                [("", "median", &quantity.p50), ("_ERR", "half of p84 - p16", &sigma)]
            {
                let map = frame.map(&pixels.x, &pixels.y, values, f32::NAN);
                planes.push(Plane {
                    name: format!("{name}{end}"),
                    unit: unit.to_owned(),
                    meaning: format!("{meaning}, {what}"),
                    values: Values::Float(map),
                });
            }
        };
        let (mass, sfr) = (&pixels.log_mass, &pixels.log_sfr);
        if let Some(area) = scales.pixel_kpc2 {
            let meaning = "surviving stellar mass per area";
            add("LOG_MASS_DENSITY", "dex(Msun / kpc2)", meaning, &mass.per_area(area));
            let meaning = "star-formation rate of 100 Myr per area";
            add("LOG_SFR_DENSITY", "dex(Msun / (yr kpc2))", meaning, &sfr.per_area(area));
        }
        add("LOG_MASS", "dex(Msun)", "surviving stellar mass of the pixel", mass);
        add("LOG_SFR", "dex(Msun / yr)", "star-formation rate of 100 Myr of the pixel", sfr);
        add("AGE", "Gyr", "mass-weighted age", &pixels.age);
        add("A_V", "mag", "attenuation at 5500 A", &pixels.a_v);
        if let Some(t50) = &pixels.t50 {
            add("T50", "Gyr", "time since half the mass formed", t50);
        }
        let mut whole = |name: &str, meaning: &str, values: Values| {
            let (name, meaning) = (name.to_owned(), meaning.to_owned());
            planes.push(Plane { name, unit: String::new(), meaning, values });
        };
        let (x, y) = (&pixels.x, &pixels.y);
        let snr = frame.map(x, y, &pixels.mean_snr, f32::NAN);
        whole("MEAN_SNR", "mean S/N over the S/N bands", Values::Float(snr));
        let bits: Vec<i32> = pixels.flags.iter().map(|bits| bits.cast_signed()).collect();
        whole("FLAGS", "sum of the flag bits", Values::Integer(frame.map(x, y, &bits, 0)));
        let footprint: Vec<u8> =
            pixels.is_fitted().map(|fitted| if fitted { 2 } else { 1 }).collect();
        let footprint = frame.map(x, y, &footprint, 0);
        whole("FOOTPRINT", "0 outside, 1 not fitted, 2 fitted", Values::Byte(footprint));

        let header = header::primary(self, galaxy, pixels, scales, half_mass);
        let own = header::position(&self.image, frame);
        fits::encode(frame, &header, &own, &planes)
    }

    fn panel(
        &self,
        galaxy: &Galaxy,
        pixels: &Pixels,
        frame: &Frame,
        scales: &Scales,
    ) -> Result<Figure, FigureError> {
        let (mass, mass_name, mass_label) = match scales.pixel_kpc2 {
            Some(area) => {
                let name = "log_mass_stellar_density";
                (&pixels.log_mass.per_area(area), name, label(name).to_owned())
            }
            None => {
                let name = "log_mass_stellar";
                (&pixels.log_mass, name, per_pixel(name))
            }
        };
        let (age, age_name) = match &pixels.t50 {
            Some(t50) => (t50, pixels::T50),
            None => (&pixels.age, "mass_weighted_age_gyr"),
        };
        let sigmas = [mass, age, &pixels.a_v].map(Quantity::sigma);
        let sigma_labels = [mass_name, age_name, "a_v"].map(sigma);
        let of = [
            (mass, mass_label.as_str(), 0.3, ColourMap::Viridis),
            (age, label(age_name), 0.1, ColourMap::Plasma),
            (&pixels.a_v, label("a_v"), 0.2, ColourMap::Magma),
        ];
        let layers: [Layer<'_>; 3] = std::array::from_fn(|i| {
            let (quantity, label, least_span, colours) = of[i];
            let (median, sigma, sigma_label) = (&quantity.p50, &sigmas[i], &sigma_labels[i]);
            Layer { label, sigma_label, median, sigma, least_span, colours }
        });
        let shown = self.shown(pixels);
        let colours = match shown {
            None => Vec::new(),
            Some(bands) => {
                let [red, green, blue] = bands.map(|band| pixels.observed(band));
                rgb::lupton(&red, &green, &blue)
            }
        };
        let bands: Vec<String> =
            shown.iter().flatten().map(|&band| self.bands[band].clone()).collect();
        let (fitted, all) = (pixels.fitted(), pixels.x.len());
        panel::draw(&Panel {
            title: &self.title(galaxy),
            note: &format!("{}, {fitted} of {all} pixels fitted", self.campaign),
            frame,
            x: &pixels.x,
            y: &pixels.y,
            rgb: &colours,
            bands: &bands,
            mean_snr: &pixels.mean_snr,
            layers,
            sky: scales.sky,
        })
    }

    /// The bands shown as red, green and blue: those that the campaign names,
    /// or the longest, middle and shortest of those well observed.
    fn shown(&self, pixels: &Pixels) -> Option<[usize; 3]> {
        let position = |name: &String| self.bands.iter().position(|band| band == name);
        if let Some(named) = &self.image.rgb {
            let [red, green, blue] = named.each_ref().map(position);
            return Some([red?, green?, blue?]);
        }
        // Ever less is asked of a band, until there are three.
        for (coverage, snr) in [(0.9, 20.0), (0.9, 5.0), (0.9, f64::NEG_INFINITY)] {
            let good = |band: &usize| {
                let (covered, sum) = pixels.coverage(*band);
                covered >= coverage && sum >= snr
            };
            let mut bands: Vec<usize> = (0..self.bands.len()).filter(good).collect();
            if bands.len() < 3 {
                continue;
            }
            bands.sort_by(|&a, &b| self.ln_pivot[a].total_cmp(&self.ln_pivot[b]));
            let (blue, red) = (bands[0], bands[bands.len() - 1]);
            let middle = 0.5 * (self.ln_pivot[blue] + self.ln_pivot[red]);
            let off = |band: &usize| (self.ln_pivot[*band] - middle).abs();
            let inner = &bands[1..bands.len() - 1];
            let green = *inner.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
            return Some([red, green, blue]);
        }
        None
    }
}
