//! The prior as a map from the unit cube: uniform numbers in, parameters out.
//!
//! Each coordinate but the times of the Dirichlet family is the uniform number
//! that a draw of the prior takes, in the order of a draw:
//!
//! | family | coordinates |
//! | --- | --- |
//! | tau | log_mass_formed, log_tau_gyr, t_i_fraction, metallicity, a_v |
//! | dirichlet | log_mass_formed, log_ssfr, three for t75, t50, t25, metallicity, a_v |
//! | double_power_law | log_mass_formed, turnover_fraction, log_alpha, log_beta, metallicity, a_v |
//! | continuity | log_mass_formed, six log SFR ratios, metallicity, a_v |
//!
//! The times of a Dirichlet draw of concentration 1 are the order statistics
//! of three uniform numbers. Sorting makes six copies of every history in the
//! cube; here the largest comes first, then those below it, so that there is one:
//!
//! t75 = u1^(1/3), t50 = t75 u2^(1/2), t25 = t50 u3,
//!
//! as the largest of n uniform numbers on (0, t) has the distribution function (x / t)^n.

use super::{Prior, quantiles, student_position};
use crate::cosmology;
use crate::error::SpsError;
use crate::sfh::{Parameters, Sfh, SfhFamily};
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Where the numbers of a draw come from.
pub(super) trait Source {
    /// Uniform on (0, 1).
    fn unit(&mut self) -> f64;
    /// t25 <= t50 <= t75 of a symmetric Dirichlet distribution of four shares.
    fn times(&mut self, concentration: f64) -> [f64; 3];
}

impl Source for Stream {
    fn unit(&mut self) -> f64 {
        self.uniform()
    }

    fn times(&mut self, concentration: f64) -> [f64; 3] {
        quantiles(self, concentration)
    }
}

/// A point of the unit cube, coordinate by coordinate.
struct Point<'a>(std::slice::Iter<'a, f64>);

impl Source for Point<'_> {
    fn unit(&mut self) -> f64 {
        *self.0.next().expect("as many coordinates as the cube has")
    }

    fn times(&mut self, concentration: f64) -> [f64; 3] {
        assert!(concentration == 1.0, "refused by `cube_dims`");
        let t75 = scalar::pow(self.unit(), 1.0 / 3.0);
        let t50 = t75 * self.unit().sqrt();
        let t25 = t50 * self.unit();
        [t25, t50, t75]
    }
}

impl Prior {
    /// Coordinates of the unit cube of [`Prior::from_cube`].
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a Dirichlet prior of another concentration than 1.
    pub fn cube_dims(&self) -> Result<usize, SpsError> {
        match self.sfh {
            SfhFamily::Tau => Ok(5),
            SfhFamily::Dirichlet if self.dirichlet_alpha == 1.0 => Ok(7),
            SfhFamily::Dirichlet => {
                let alpha = self.dirichlet_alpha;
                let problem = format!("the unit cube has no times of concentration {alpha}: use 1");
                Err(SpsError::setting("dirichlet_alpha", problem))
            }
            SfhFamily::DoublePowerLaw => Ok(6),
            SfhFamily::Continuity => Ok(9),
        }
    }

    /// The parameters at a point of the unit cube and a redshift. For points
    /// that fill the cube evenly they are distributed as [`Prior::draw_at`].
    ///
    /// `cube`: one number in 0 to 1 per coordinate.
    ///
    /// # Panics
    /// When `cube` has not [`Prior::cube_dims`] coordinates, or that is an error.
    #[must_use]
    pub fn from_cube(&self, cube: &[f64], redshift: f64) -> Parameters {
        let dims = self.cube_dims().expect("a prior with a unit cube");
        assert_eq!(cube.len(), dims, "one number per coordinate of the cube");
        self.draw_numbers(&mut Point(cube.iter())).at(redshift)
    }

    /// The point of the unit cube whose image `parameters` are, into `cube`;
    /// outside of it where they lie outside of the prior.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a history of another family than the prior's,
    /// and those of [`Prior::cube_dims`].
    ///
    /// # Panics
    /// When `cube` has not [`Prior::cube_dims`] coordinates.
    pub fn to_cube(
        &self,
        parameters: &Parameters,
        redshift: f64,
        cube: &mut [f64],
    ) -> Result<(), SpsError> {
        assert_eq!(cube.len(), self.cube_dims()?, "one number per coordinate of the cube");
        let p = parameters;
        let place = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        let age_gyr = cosmology::age_gyr(redshift);
        let dims = cube.len();
        let (shape, end) = cube[1..].split_at_mut(dims - 3);
        match (self.sfh, p.sfh) {
            (SfhFamily::Tau, Sfh::Tau { tau_gyr, t_i_gyr }) => {
                shape[0] = place(scalar::log10(tau_gyr), self.log_tau_gyr);
                shape[1] = place(t_i_gyr / age_gyr, self.t_i_fraction);
            }
            (SfhFamily::Dirichlet, Sfh::Dirichlet { log_ssfr, t25, t50, t75 }) => {
                let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.5 };
                shape[0] = place(log_ssfr, self.log_ssfr);
                shape[1] = t75 * t75 * t75;
                shape[2] = ratio(t50, t75) * ratio(t50, t75);
                shape[3] = ratio(t25, t50);
            }
            (SfhFamily::DoublePowerLaw, Sfh::DoublePowerLaw { tau_gyr, alpha, beta }) => {
                shape[0] = place(tau_gyr / age_gyr, self.turnover_fraction);
                shape[1] = place(scalar::log10(alpha), self.log_alpha);
                shape[2] = place(scalar::log10(beta), self.log_beta);
            }
            (SfhFamily::Continuity, Sfh::Continuity { log_sfr_ratios }) => {
                let (low, high) = self.log_sfr_ratio;
                let position = |ratio: f64| student_position(ratio / self.continuity_scale);
                let bounds = (position(low), position(high));
                for (u, ratio) in shape.iter_mut().zip(log_sfr_ratios) {
                    *u = place(position(ratio), bounds);
                }
            }
            (own, other) => {
                let family = other.family();
                let problem = format!("a {family:?} history lies in no cube of the {own:?} family");
                return Err(SpsError::setting("sfh", problem));
            }
        }
        end[0] = place(p.metallicity, self.metallicity);
        end[1] = place(p.a_v, self.a_v);
        cube[0] = place(p.log_mass_formed, self.log_mass_formed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    fn of(sfh: SfhFamily) -> Prior {
        Prior { sfh, ..Prior::default() }
    }

    fn stream(purpose: Purpose, i: u64) -> Stream {
        Stream::new(12, purpose, i, 0)
    }

    /// The uniform numbers of a draw are its point of the cube, to the bit.
    #[test]
    fn a_draw_is_the_image_of_its_uniform_numbers() {
        for sfh in [SfhFamily::Tau, SfhFamily::DoublePowerLaw, SfhFamily::Continuity] {
            let prior = of(sfh);
            for i in 0..100 {
                let mut numbers = stream(Purpose::Simulation, i);
                let cube: Vec<f64> =
                    (0..prior.cube_dims().unwrap()).map(|_| numbers.uniform()).collect();
                let drawn = prior.draw_at(2.0, &mut stream(Purpose::Simulation, i));
                assert_eq!(prior.from_cube(&cube, 2.0), drawn);
            }
        }
    }

    /// There and back again, every family; one coordinate of a Dirichlet draw is
    /// a cube root and loses digits near 0.
    #[test]
    fn parameters_lie_where_they_come_from() {
        for sfh in
            [SfhFamily::Tau, SfhFamily::Dirichlet, SfhFamily::DoublePowerLaw, SfhFamily::Continuity]
        {
            let prior = of(sfh);
            let dims = prior.cube_dims().unwrap();
            for i in 0..100 {
                let mut numbers = stream(Purpose::Simulation, i);
                let cube: Vec<f64> = (0..dims).map(|_| numbers.uniform()).collect();
                let mut again = vec![0.0; dims];
                prior.to_cube(&prior.from_cube(&cube, 2.0), 2.0, &mut again).unwrap();
                for (a, b) in cube.iter().zip(&again) {
                    assert!((a - b).abs() < 1e-9, "{sfh:?}: {cube:?} {again:?}");
                }
            }
        }
        let p = of(SfhFamily::Tau).from_cube(&[0.5; 5], 2.0);
        let error = of(SfhFamily::Dirichlet).to_cube(&p, 2.0, &mut [0.0; 7]).unwrap_err();
        assert!(error.to_string().contains("Tau history"), "{error}");
    }

    /// Seven numbers of a Dirichlet history and the three products of its times.
    fn numbers(p: &Parameters) -> [f64; 10] {
        let Sfh::Dirichlet { log_ssfr, t25, t50, t75 } = p.sfh else { panic!("{p:?}") };
        let (ab, bc, ac) = (t25 * t50, t50 * t75, t25 * t75);
        [p.log_mass_formed, log_ssfr, t25, t50, t75, p.metallicity, p.a_v, ab, bc, ac]
    }

    /// Two samples of every number, and of the products of times, against each
    /// other: the Kolmogorov-Smirnov distance of two samples of n exceeds
    /// 2.2 sqrt(2 / n) once in 16,000 tests.
    #[test]
    fn even_points_of_the_cube_are_draws_of_the_dirichlet_prior() {
        let prior = of(SfhFamily::Dirichlet);
        assert_eq!(prior.cube_dims().unwrap(), 7);
        let n = 20_000;
        let (mut from_cube, mut drawn) = (vec![Vec::new(); 10], vec![Vec::new(); 10]);
        for i in 0..n {
            let mut s = stream(Purpose::Calibration, i);
            let cube: Vec<f64> = (0..7).map(|_| s.uniform()).collect();
            let p = prior.from_cube(&cube, 1.5);
            let q = prior.draw_at(1.5, &mut stream(Purpose::Simulation, i));
            for (k, (a, b)) in numbers(&p).into_iter().zip(numbers(&q)).enumerate() {
                from_cube[k].push(a);
                drawn[k].push(b);
            }
        }
        for (k, (a, b)) in from_cube.iter_mut().zip(&mut drawn).enumerate() {
            a.sort_by(f64::total_cmp);
            b.sort_by(f64::total_cmp);
            let mut distance = 0.0f64;
            for (i, value) in a.iter().enumerate() {
                let below = b.partition_point(|v| v < value);
                distance = distance.max((i as f64 - below as f64).abs() / n as f64);
            }
            assert!(distance < 2.2 * (2.0 / n as f64).sqrt(), "number {k}: {distance}");
        }
    }

    #[test]
    fn other_concentrations_have_no_cube() {
        let prior = Prior { dirichlet_alpha: 2.0, ..of(SfhFamily::Dirichlet) };
        let error = prior.cube_dims().unwrap_err();
        assert!(error.to_string().contains("dirichlet_alpha"), "{error}");
    }
}
