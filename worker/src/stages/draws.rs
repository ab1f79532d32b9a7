//! Posterior draws in every reported parameter: the free ones from the
//! estimator, the others derived from them, draw by draw.

use super::{Science, StageError};
use outshine_kernels::random::Stream;
use outshine_kernels::wide;
use outshine_npe::{Object, PROBES, RedshiftPosterior, Sampler, Scratch, Seen};
use outshine_sps::{Derived, Parameters, Sfh, cosmology};

/// Draws of one object, in the order of [`Science::reported`] and in single
/// precision.
pub struct Draws {
    names: &'static [&'static str],
    /// [reported, n].
    values: Vec<f32>,
}

impl Draws {
    /// Draws `values`, [names, n], of objects at `redshift`: one, or one per draw.
    ///
    /// # Errors
    /// [`StageError::Permanent`] naming the first that is not finite.
    pub(super) fn new(
        names: &'static [&'static str],
        values: Vec<f32>,
        redshift: &[f64],
    ) -> Result<Self, StageError> {
        let n = values.len() / names.len();
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            return Err(StageError::Permanent(format!(
                "draw {} has no finite `{}` at z = {}",
                i % n,
                names[i / n],
                redshift[(i % n).min(redshift.len() - 1)]
            )));
        }
        Ok(Self { names, values })
    }

    /// The draws of each parameter, in order.
    pub fn columns(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact((self.values.len() / self.names.len()).max(1))
    }

    /// The draws of the parameter called `name`.
    pub fn of(&self, name: &str) -> &[f32] {
        let place = position(self.names, name);
        self.columns().nth(place).unwrap_or_default()
    }
}

/// Position of a reported parameter.
pub fn position(names: &[&str], name: &str) -> usize {
    names.iter().position(|n| *n == name).expect("a reported parameter")
}

/// True values of all reported parameters of a simulated object.
///
/// `free`: its free coordinates.
pub fn truth(science: &Science, free: &[f64], p: &Parameters, derived: &Derived) -> Vec<f64> {
    let age_gyr = cosmology::age_gyr(p.redshift);
    let of = |name: &str| free[position(science.free, name)];
    let t50 = || of("t75") * of("t50_over_t75");
    let value = |name: &&str| match *name {
        "log_mass_stellar" => derived.log_mass_stellar,
        "log_sfr_100" => derived.log_sfr_100,
        "mass_weighted_age_gyr" => derived.mass_weighted_age_gyr,
        "t_i_gyr" => match p.sfh {
            Sfh::Tau { t_i_gyr, .. } => t_i_gyr,
            _ => f64::NAN,
        },
        "t50" => t50(),
        "t25" => t50() * of("t25_over_t50"),
        "t50_lookback_gyr" => (1.0 - t50()) * age_gyr,
        free => of(free),
    };
    science.reported.iter().map(value).collect()
}

/// Where a reported parameter comes from.
enum Source {
    Free(usize),
    Derived(usize),
    /// The start of star formation: a fraction, times the age of the universe.
    Start(usize),
}

/// Makes draws; reuses its memory from object to object.
pub struct Drawer<'a> {
    science: &'a Science,
    sampler: &'a Sampler,
    sources: Vec<Source>,
    /// Where each of the model's bands lies among the campaign's, unless both
    /// have the same in the same order.
    bands: Option<Vec<Option<usize>>>,
    scratch: Scratch,
    /// Free coordinates of the latest draws, [d, n], and their redshift, or one
    /// per draw.
    free: Vec<f32>,
    redshift: Vec<f64>,
    /// Points of the density before recalibration, [d, [`PROBES`]], of the object
    /// of the latest draws; empty where these are not tilted.
    untilted: Vec<f32>,
    derived: Vec<f32>,
    words: Vec<u32>,
    noise: Vec<f32>,
}

impl<'a> Drawer<'a> {
    /// A drawer from `sampler`.
    pub fn new(science: &'a Science, sampler: &'a Sampler) -> Self {
        let free = |name: &str| science.free.iter().position(|n| *n == name);
        let source = |name: &&str| {
            if let Some(i) = free(name) {
                return Source::Free(i);
            }
            match science.deriver.names().iter().position(|n| n == name) {
                Some(i) => Source::Derived(i),
                None => Source::Start(position(science.free, "t_i_fraction")),
            }
        };
        Self {
            science,
            sampler,
            sources: science.reported.iter().map(source).collect(),
            bands: band_map(science, sampler),
            scratch: Scratch::default(),
            free: Vec::new(),
            redshift: Vec::new(),
            untilted: Vec::new(),
            derived: Vec::new(),
            words: Vec::new(),
            noise: Vec::new(),
        }
    }

    /// Runs the network on some objects: best a few dozen at a time.
    pub fn see(&self, objects: &[Object<'_>]) -> Result<Seen, StageError> {
        let Some(bands) = &self.bands else { return Ok(self.sampler.see(objects)?) };
        let mapped: Vec<[Vec<f32>; 2]> =
            objects.iter().map(|o| [place(bands, o.flux), place(bands, o.err)]).collect();
        let objects: Vec<Object<'_>> = objects
            .iter()
            .zip(&mapped)
            .map(|(o, [flux, err])| Object { flux, err, redshift: o.redshift })
            .collect();
        Ok(self.sampler.see(&objects)?)
    }

    /// Free coordinates of the last draws, [d, n].
    pub fn free(&self) -> &[f32] {
        &self.free
    }

    /// The distribution of an object's redshift; `None` when the model has none.
    pub fn redshift(
        &self,
        flux: &[f32],
        err: &[f32],
    ) -> Result<Option<RedshiftPosterior>, StageError> {
        Ok(match &self.bands {
            None => self.sampler.redshift(flux, err)?,
            Some(bands) => self.sampler.redshift(&place(bands, flux), &place(bands, err))?,
        })
    }

    /// `n` draws of object `i` of `seen`, at its redshift.
    pub fn draw(
        &mut self,
        seen: &Seen,
        i: usize,
        redshift: f64,
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        self.free.resize(n * self.science.free.len(), 0.0);
        self.sampler.draw(seen, i, stream, n, &mut self.scratch, &mut self.free)?;
        self.sampler.untilted(seen, |_| i, &mut self.untilted);
        self.report(&[redshift], n, stream)
    }

    /// `n` draws of one object of known redshift.
    pub fn draw_one(
        &mut self,
        object: &Object<'_>,
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        let seen = self.see(&[*object])?;
        self.draw(&seen, 0, object.redshift, n, stream)
    }

    /// `n` draws of one object over `redshifts`, which are equally probable:
    /// draw k is at number floor(k m / n) of m.
    pub fn draw_over(
        &mut self,
        flux: &[f32],
        err: &[f32],
        redshifts: &[f64],
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        let at = |&redshift: &f64| Object { flux, err, redshift };
        let objects: Vec<Object<'_>> = redshifts.iter().map(at).collect();
        let seen = self.see(&objects)?;
        self.free.resize(n * self.science.free.len(), 0.0);
        self.sampler.draw_over(&seen, stream, n, &mut self.scratch, &mut self.free)?;
        let place = |k: usize| k * redshifts.len() / n;
        self.sampler.untilted(&seen, |k| place(k * n / PROBES), &mut self.untilted);
        let each: Vec<f64> = (0..n).map(|k| redshifts[place(k)]).collect();
        self.report(&each, n, stream)
    }

    /// Whether the latest draws are all at one redshift.
    pub fn one_redshift(&self) -> bool {
        self.redshift.len() == 1
    }

    /// Number `k` of `m` of the latest draws, spread evenly over them: its free
    /// coordinates and, last, its redshift.
    pub fn point(&self, k: usize, m: usize, point: &mut [f64]) {
        self.point_of(&self.free, k, m, point);
    }

    /// The same of draws that no recalibration has tilted: [`PROBES`] at most.
    pub fn untilted_point(&self, k: usize, m: usize, point: &mut [f64]) {
        let tilted = !self.untilted.is_empty();
        self.point_of(if tilted { &self.untilted } else { &self.free }, k, m, point);
    }

    /// Number `k` of `m` of `free`, [d, any number], at redshifts as the latest draws.
    fn point_of(&self, free: &[f32], k: usize, m: usize, point: &mut [f64]) {
        let n = free.len() / self.science.free.len();
        let i = k * n / m;
        for (value, column) in point.iter_mut().zip(free.chunks_exact(n)) {
            *value = f64::from(column[i]);
        }
        let redshifts = self.redshift.len();
        point[self.science.free.len()] = self.redshift[i * redshifts / n];
    }

    /// Reported parameters of the free coordinates at hand; `redshift`: one, or
    /// one per draw.
    fn report(
        &mut self,
        redshift: &[f64],
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        self.redshift.clear();
        self.redshift.extend_from_slice(redshift);
        let deriver = &self.science.deriver;
        let noise = deriver.noise_columns() * n;
        self.words.resize(noise, 0);
        self.noise.resize(noise, 0.0);
        stream.fill(&mut self.words);
        wide::normals(&self.words, &mut self.noise);
        self.derived.resize(deriver.names().len() * n, 0.0);
        deriver.derive(redshift, &self.free, &self.noise, &mut self.derived);
        let mut values = Vec::with_capacity(self.sources.len() * n);
        for source in &self.sources {
            match *source {
                Source::Free(i) => values.extend_from_slice(&self.free[i * n..(i + 1) * n]),
                Source::Derived(i) => values.extend_from_slice(&self.derived[i * n..(i + 1) * n]),
                Source::Start(i) => {
                    let fractions = &self.free[i * n..(i + 1) * n];
                    if let [redshift] = redshift {
                        let age_gyr = cosmology::age_gyr(*redshift) as f32;
                        values.extend(fractions.iter().map(|f| f * age_gyr));
                    } else {
                        let age_gyr = redshift.iter().map(|&z| cosmology::age_gyr(z) as f32);
                        values.extend(fractions.iter().zip(age_gyr).map(|(f, age)| f * age));
                    }
                }
            }
        }
        Draws::new(self.science.reported, values, redshift)
    }
}

/// Values per campaign band, in the model's order; 0 (not observed) for bands
/// that the campaign has not.
fn place(bands: &[Option<usize>], values: &[f32]) -> Vec<f32> {
    bands.iter().map(|band| band.map_or(0.0, |b| values[b])).collect()
}

fn band_map(science: &Science, sampler: &Sampler) -> Option<Vec<Option<usize>>> {
    let (own, model) = (science.target.features.bands(), sampler.features().bands());
    let at = |band: &String| own.iter().position(|b| b == band);
    (own != model).then(|| model.iter().map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::tests::job;
    use crate::stages::{model, shipped};
    use outshine_kernels::random::Purpose;
    use outshine_schemas::task::{Shard, Stage};

    #[test]
    fn bands_go_to_the_places_that_the_model_knows() {
        let bands = [Some(2), None, Some(0)];
        assert_eq!(place(&bands, &[10.0, 20.0, 30.0]), [30.0, 0.0, 10.0]);
    }

    /// Noise is fixed, so that point k over redshifts is point k at its redshift.
    #[tokio::test]
    async fn untilted_points_are_those_of_their_redshift() {
        let job =
            job("name = \"c\"\n[field.mock]\n", Stage::Calibrate, Shard { start: 0, end: 1 }).await;
        let science = &job.science;
        let [description, weights] = shipped::files(science.prior.sfh).unwrap();
        let sampler = Sampler::new(&model::read(&description, &weights).unwrap());
        let mut drawer = Drawer::new(science, &sampler);
        let bands = science.target.features.bands().len();
        let stream = || Stream::new(3, Purpose::Draw, 0, 0);
        let (n, many) = (90, PROBES);
        for (snr, tilted) in [(500.0, true), (4.0, false)] {
            let (flux, err) = (vec![snr as f32; bands], vec![1.0; bands]);
            let mut points = |redshifts: &[f64]| {
                drawer.draw_over(&flux, &err, redshifts, n, &mut stream()).unwrap();
                let mut found = Vec::new();
                for k in 0..many {
                    let (mut looked, mut drawn) = (vec![0.0; 6], vec![0.0; 6]);
                    drawer.untilted_point(k, many, &mut looked);
                    drawer.point(k, many, &mut drawn);
                    assert_eq!(looked == drawn, !tilted, "{snr}");
                    found.push(looked);
                }
                found
            };
            let (both, near, far) = (points(&[1.0, 3.0]), points(&[1.0]), points(&[3.0]));
            for k in 0..many {
                let own = if k < many / 2 { &near[k] } else { &far[k] };
                assert_eq!(both[k][5], own[5], "point {k}");
                assert!(!tilted || both[k] == *own, "point {k}: {:?} {own:?}", both[k]);
            }
        }
    }
}
