//! A mixture of Student's t distributions: what importance sampling draws from.
//! Their tails are heavier than those of a normal, so that no weight runs away.

use super::MOST_DIMS;
use super::matrix::{factor, invert};
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Components below this share are dropped where there are more than so many.
const LEAST_SHARE: f64 = 0.005;
const MANY: usize = 16;
/// How much wider than its points a component adapts to be: the density must not
/// fall short in the tails.
const BROADER: f64 = 1.5;
/// Share of the mixture that adapting spreads evenly over its components.
const EVEN_SHARE: f64 = 0.05;

/// One of the t distributions.
#[derive(Clone, Debug)]
pub struct Component {
    share: f64,
    centre: Vec<f64>,
    /// (dims, dims) lower triangle L of the scale matrix L L^T.
    cholesky: Vec<f64>,
    /// L^-1.
    inverse: Vec<f64>,
    /// 1 / det L.
    height: f64,
}

impl Component {
    /// About `centre`; `scale`: (dims, dims), of which the lower triangle is looked at.
    pub fn new(share: f64, centre: Vec<f64>, scale: &[f64]) -> Self {
        let d = centre.len();
        let cholesky = factor(scale, d);
        let inverse = invert(&cholesky, d);
        let height = (0..d).map(|i| inverse[i * d + i]).product();
        Self { share, centre, cholesky, inverse, height }
    }

    /// Squared distance of `z` from the centre in units of the scale.
    pub fn square(&self, z: &[f64]) -> f64 {
        let d = self.centre.len();
        let mut own = [0.0; MOST_DIMS];
        for (own, (z, c)) in own.iter_mut().zip(z.iter().zip(&self.centre)) {
            *own = z - c;
        }
        let mut sum = 0.0;
        for i in 0..d {
            let row = &self.inverse[i * d..=i * d + i];
            let y: f64 = row.iter().zip(&own).map(|(l, x)| l * x).sum();
            sum += y * y;
        }
        sum
    }
}

/// The mixture; shares of its components sum to 1.
#[derive(Clone, Debug)]
pub struct Mixture {
    components: Vec<Component>,
    dims: usize,
    /// 4, or 5 for an odd number of dimensions: the power is a whole number.
    degrees: f64,
    /// Of (1 + distance^2 / degrees), in the denominator of the density.
    power: usize,
    /// ln of the density of a component of scale 1 at its centre.
    log_norm: f64,
}

impl Mixture {
    /// Of some components of as many dimensions, whatever their shares sum to.
    pub fn new(components: Vec<Component>) -> Self {
        let dims = components[0].centre.len();
        let degrees = 4 + dims % 2;
        let area = 0.5 * dims as f64 * scalar::ln(degrees as f64 * std::f64::consts::PI);
        let log_gamma = |n: usize| libm::lgamma(0.5 * n as f64);
        let log_norm = log_gamma(degrees + dims) - log_gamma(degrees) - area;
        let power = (degrees + dims) / 2;
        let mut own = Self { components, dims, degrees: degrees as f64, power, log_norm };
        own.normalise();
        own
    }

    fn normalise(&mut self) {
        let sum: f64 = self.components.iter().map(|c| c.share).sum();
        self.components.iter_mut().for_each(|c| c.share /= sum);
    }

    /// With some components more, of shares relative to its own.
    pub fn with(mut self, more: Vec<Component>) -> Self {
        self.components.extend(more);
        self.normalise();
        self
    }

    /// One point, into `z`.
    pub fn draw(&self, stream: &mut Stream, z: &mut [f64]) {
        let d = self.dims;
        let mut rest = stream.uniform();
        let found = self.components.iter().find(|c| {
            rest -= c.share;
            rest < 0.0
        });
        let component = found.unwrap_or(&self.components[0]);
        let square: f64 = (0..self.degrees as usize).map(|_| stream.normal().powi(2)).sum();
        let stretch = (self.degrees / square).sqrt();
        let mut own = [0.0; MOST_DIMS];
        own[..d].iter_mut().for_each(|x| *x = stretch * stream.normal());
        for i in 0..d {
            let row = &component.cholesky[i * d..=i * d + i];
            let step: f64 = row.iter().zip(&own).map(|(l, x)| l * x).sum();
            z[i] = component.centre[i] + step;
        }
    }

    /// Density of a component times its share, but for the norm.
    fn part(&self, c: &Component, square: f64) -> f64 {
        let tail = 1.0 + square / self.degrees;
        let power: f64 = (0..self.power).map(|_| tail).product();
        c.share * c.height / power
    }

    /// ln of the density at `z`.
    pub fn log_density(&self, z: &[f64]) -> f64 {
        let sum: f64 = self.components.iter().map(|c| self.part(c, c.square(z))).sum();
        scalar::ln(sum) + self.log_norm
    }

    /// The mixture nearer to weighted points: a step of expectation and
    /// maximisation, and [`BROADER`]. Where few points are a component's, it keeps most of its shape.
    ///
    /// `points`: (n, dims); `weights`: n, of sum 1.
    pub fn adapted(&self, points: &[f64], weights: &[f64]) -> Self {
        let mut moments: Vec<Moments> =
            self.components.iter().map(|_| Moments::new(self.dims)).collect();
        let mut parts = vec![(0.0, 0.0); self.components.len()];
        for (z, &weight) in points.chunks_exact(self.dims).zip(weights) {
            if weight <= 0.0 {
                continue;
            }
            let mut sum = 0.0;
            for (part, c) in parts.iter_mut().zip(&self.components) {
                let square = c.square(z);
                *part = (self.part(c, square), square);
                sum += part.0;
            }
            for ((part, square), (c, moments)) in
                parts.iter().zip(self.components.iter().zip(&mut moments))
            {
                let own = weight * part / sum;
                let pull = (self.degrees + self.dims as f64) / (self.degrees + square);
                moments.add(z, &c.centre, own, pull);
            }
        }
        let count = self.components.len();
        let kept = |m: &Moments| count <= MANY || m.share >= LEAST_SHARE;
        let spread = EVEN_SHARE / count as f64;
        let components = self.components.iter().zip(&moments).filter(|(_, m)| kept(m));
        Self::new(components.map(|(c, m)| m.component(c, m.share + spread)).collect())
    }
}

/// What weighted points say of a component.
struct Moments {
    dims: usize,
    /// Sum of the points' weights times how far they are the component's, and of its square.
    share: f64,
    square: f64,
    /// The same with far points counted less, as a t distribution does; of the
    /// points from the centre, and of their products.
    mass: f64,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Moments {
    fn new(dims: usize) -> Self {
        let (first, second) = (vec![0.0; dims], vec![0.0; dims * dims]);
        Self { dims, share: 0.0, square: 0.0, mass: 0.0, first, second }
    }

    fn add(&mut self, z: &[f64], centre: &[f64], own: f64, pull: f64) {
        let d = self.dims;
        self.share += own;
        self.square += own * own;
        self.mass += own * pull;
        for i in 0..d {
            let x = own * pull * (z[i] - centre[i]);
            self.first[i] += x;
            for j in 0..=i {
                self.second[i * d + j] += x * (z[j] - centre[j]);
            }
        }
    }

    /// The component that the points ask for, as far as they are enough.
    fn component(&self, old: &Component, share: f64) -> Component {
        let d = self.dims;
        if self.mass <= 0.0 || self.square <= 0.0 {
            return Component { share, ..old.clone() };
        }
        let points = self.share * self.share / self.square;
        let trust = points / (points + (d + 2) as f64);
        let shift: Vec<f64> = self.first.iter().map(|f| f / self.mass).collect();
        let centre = old.centre.iter().zip(&shift).map(|(c, s)| c + trust * s).collect();
        let mut scale = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                let (a, b) = (&old.cholesky[i * d..], &old.cholesky[j * d..=j * d + j]);
                let before: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                let spread = self.second[i * d + j] - self.mass * shift[i] * shift[j];
                scale[i * d + j] =
                    trust * BROADER * BROADER * spread / self.share + (1.0 - trust) * before;
            }
        }
        Component::new(share, centre, &scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    fn mixture(dims: usize) -> Mixture {
        let mut wide = vec![0.0; dims * dims];
        let mut bent = vec![0.0; dims * dims];
        for i in 0..dims {
            wide[i * dims + i] = 1.0;
            bent[i * dims + i] = 0.1;
            for j in 0..i {
                bent[i * dims + j] = 0.05;
            }
        }
        Mixture::new(vec![
            Component::new(0.3, vec![0.0; dims], &wide),
            Component::new(0.9, vec![1.0; dims], &bent),
        ])
    }

    /// The mean over draws of any normalised density over the mixture's is 1.
    #[test]
    fn draws_have_the_density_that_is_said() {
        for dims in [3, 4] {
            let mixture = mixture(dims);
            let mut stream = Stream::new(5, Purpose::Calibration, dims as u64, 0);
            let mut z = vec![0.0; dims];
            let (n, mut sum, mut square) = (40_000, 0.0, 0.0);
            for _ in 0..n {
                mixture.draw(&mut stream, &mut z);
                let far: f64 = z.iter().map(|z| (z - 0.5) * (z - 0.5)).sum();
                let normal =
                    -0.5 * far / 0.49 - 0.5 * dims as f64 * (0.49 * std::f64::consts::TAU).ln();
                let ratio = (normal - mixture.log_density(&z)).exp();
                sum += ratio;
                square += ratio * ratio;
            }
            let n = f64::from(n);
            let (mean, error) = (sum / n, ((square / n - (sum / n).powi(2)) / n).sqrt());
            assert!(error < 0.02 && (mean - 1.0).abs() < 4.0 * error, "{mean} +- {error}");
        }
    }

    /// Points of a t distribution of other place and scale: a few steps find the
    /// place, and a scale broader by what is meant.
    #[test]
    fn adapting_finds_the_points() {
        let dims = 2;
        let truth =
            Mixture::new(vec![Component::new(1.0, vec![2.0, -1.0], &[0.04, 0.0, 0.03, 0.09])]);
        let mut stream = Stream::new(6, Purpose::Calibration, 0, 0);
        let mut points = vec![0.0; 4000 * dims];
        points.chunks_exact_mut(dims).for_each(|z| truth.draw(&mut stream, z));
        let weights = vec![1.0 / 4000.0; 4000];
        let mut found = mixture(dims);
        for _ in 0..40 {
            found = found.adapted(&points, &weights);
        }
        let c = found.components.iter().max_by(|a, b| a.share.total_cmp(&b.share)).unwrap();
        assert!((c.centre[0] - 2.0).abs() < 0.02 && (c.centre[1] + 1.0).abs() < 0.02, "{c:?}");
        // A broader component counts far points more than the fit would: twice in the end.
        let ratio = c.cholesky[0] / 0.2;
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!((c.cholesky[3] / (0.0675f64).sqrt() / ratio - 1.0).abs() < 0.05, "{c:?}");
    }
}
