//! Where the mass of a galaxy lies: its peak, the circle about the peak that
//! holds half of it, and the ellipse that its second moments describe.
//!
//! Positions are pixel indices, masses are linear (any unit). Pixels without a
//! mass (not a number, 0 or below) count nowhere. All sums run in order of
//! distance, then of row and column: they do not depend on the order of rows.

use outshine_kernels::scalar;

/// Fewer pixels than this have no shape of their own.
pub const SHAPE_PIXELS: usize = 9;
/// Flatter than this is taken as a line of pixels, not as a shape.
const FLATTEST: f64 = 0.05;
/// Radius of the circle of a pixel's area, in pixels: 1 / sqrt(pi).
const PIXEL_RADIUS: f64 = 0.564_189_583_547_756_3;

/// The circle about the mass peak that holds half of the mass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfMass {
    /// Column of the pixel of the highest mass.
    pub x: i32,
    /// Its row.
    pub y: i32,
    /// Radius of the circle, in pixels.
    pub radius_px: f64,
}

/// Means over pixels, weighted by mass; `None` where there is no pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    /// Over the peak pixel.
    pub central: Option<f64>,
    /// Over the pixels whose centres are in the circle, its edge included.
    pub inside: Option<f64>,
    /// Over all others.
    pub outside: Option<f64>,
}

/// The ellipse of the mass: apertures of this shape are drawn about the peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ellipse {
    /// Column of the pixel of the highest mass.
    pub x: i32,
    /// Its row.
    pub y: i32,
    /// Minor over major axis, above 0 and at most 1.
    pub axis_ratio: f64,
    /// Direction of the major axis in radians, from +x towards +y, above
    /// -pi/2 and at most pi/2.
    pub angle: f64,
}

/// A pixel that has a mass.
struct Weighed {
    x: i32,
    y: i32,
    mass: f64,
}

fn weighed(x: &[i32], y: &[i32], mass: &[f64]) -> Vec<Weighed> {
    assert!(x.len() == y.len() && x.len() == mass.len(), "one position per mass");
    let pixels = x.iter().zip(y).zip(mass).map(|((&x, &y), &mass)| Weighed { x, y, mass });
    pixels.filter(|p| p.mass.is_finite() && p.mass > 0.0).collect()
}

/// The pixel of the highest mass; of equal ones the first in (row, column).
fn peak(pixels: &[Weighed]) -> Option<(i32, i32)> {
    let best =
        pixels.iter().max_by(|a, b| a.mass.total_cmp(&b.mass).then((b.y, b.x).cmp(&(a.y, a.x))));
    best.map(|p| (p.x, p.y))
}

fn squared_distance(p: &Weighed, (x, y): (i32, i32)) -> f64 {
    let (dx, dy) = (f64::from(p.x) - f64::from(x), f64::from(p.y) - f64::from(y));
    dx * dx + dy * dy
}

/// The half-mass circle of pixels at `x`, `y` with `mass`, each `[pixels]`;
/// `None` where no pixel has a mass.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn half_mass(x: &[i32], y: &[i32], mass: &[f64]) -> Option<HalfMass> {
    let mut pixels = weighed(x, y, mass);
    let centre = peak(&pixels)?;
    let key = |p: &Weighed| squared_distance(p, centre);
    pixels.sort_by(|a, b| key(a).total_cmp(&key(b)).then((a.y, a.x).cmp(&(b.y, b.x))));
    let total: f64 = pixels.iter().map(|p| p.mass).sum();
    // The mass within radius r is that of the pixels nearer than r and half of
    // those at r; linear between radii. The peak is a uniform disc of its area.
    let (mut inner, mut last) = (0.0, (0.0, 0.0));
    let half = 0.5 * total;
    for ring in pixels.chunk_by(|a, b| key(a) == key(b)) {
        let own: f64 = ring.iter().map(|p| p.mass).sum();
        let is_peak = key(&ring[0]) == 0.0;
        if is_peak && own >= half {
            let radius_px = PIXEL_RADIUS * (half / own).sqrt();
            return Some(HalfMass { x: centre.0, y: centre.1, radius_px });
        }
        let here = match is_peak {
            true => (PIXEL_RADIUS, own),
            false => (key(&ring[0]).sqrt(), inner + 0.5 * own),
        };
        if here.1 >= half {
            let part = (half - last.1) / (here.1 - last.1);
            let radius_px = last.0 + part * (here.0 - last.0);
            return Some(HalfMass { x: centre.0, y: centre.1, radius_px });
        }
        inner += own;
        last = here;
    }
    // Half of the last ring's mass lies beyond its radius.
    Some(HalfMass { x: centre.0, y: centre.1, radius_px: last.0 })
}

impl HalfMass {
    /// Whether the centre of the pixel is in the circle.
    #[must_use]
    pub fn contains(&self, x: i32, y: i32) -> bool {
        let p = Weighed { x, y, mass: 0.0 };
        squared_distance(&p, (self.x, self.y)) <= self.radius_px * self.radius_px
    }

    /// Means of `values`, weighted by `mass`, at the peak, inside and outside;
    /// pixels without a mass or a finite value are left out. All arrays `[pixels]`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn means(&self, x: &[i32], y: &[i32], mass: &[f64], values: &[f64]) -> Means {
        assert_eq!(values.len(), mass.len(), "one value per mass");
        assert!(x.len() == y.len() && x.len() == mass.len(), "one position per mass");
        let mut rows: Vec<usize> = (0..mass.len())
            .filter(|&i| mass[i].is_finite() && mass[i] > 0.0 && values[i].is_finite())
            .collect();
        rows.sort_by_key(|&i| (y[i], x[i]));
        let mean = |keep: &dyn Fn(usize) -> bool| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for &i in rows.iter().filter(|&&i| keep(i)) {
                sum += mass[i] * values[i];
                weight += mass[i];
            }
            (weight > 0.0).then(|| sum / weight)
        };
        Means {
            central: mean(&|i| (x[i], y[i]) == (self.x, self.y)),
            inside: mean(&|i| self.contains(x[i], y[i])),
            outside: mean(&|i| !self.contains(x[i], y[i])),
        }
    }
}

/// The ellipse of pixels at `x`, `y` with `mass`, each `[pixels]`, from second
/// moments about the peak; a circle where there are fewer than
/// [`SHAPE_PIXELS`] or they lie on a line. `None` where no pixel has a mass.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn ellipse(x: &[i32], y: &[i32], mass: &[f64]) -> Option<Ellipse> {
    let mut pixels = weighed(x, y, mass);
    let (x, y) = peak(&pixels)?;
    let circle = Ellipse { x, y, axis_ratio: 1.0, angle: 0.0 };
    if pixels.len() < SHAPE_PIXELS {
        return Some(circle);
    }
    pixels.sort_by_key(|p| (p.y, p.x));
    let (mut total, mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0, 0.0);
    for p in &pixels {
        let (dx, dy) = (f64::from(p.x) - f64::from(x), f64::from(p.y) - f64::from(y));
        total += p.mass;
        xx += p.mass * dx * dx;
        xy += p.mass * dx * dy;
        yy += p.mass * dy * dy;
    }
    let (xx, xy, yy) = (xx / total, xy / total, yy / total);
    let (mean, half) = (0.5 * (xx + yy), 0.5 * (xx - yy));
    let root = (half * half + xy * xy).sqrt();
    let axis_ratio = ((mean - root).max(0.0) / (mean + root)).sqrt();
    if axis_ratio.is_nan() || axis_ratio < FLATTEST {
        return Some(circle);
    }
    // Of a circle, any direction is as good.
    let angle = if root > 0.0 { 0.5 * scalar::atan2(xy, half) } else { 0.0 };
    Some(Ellipse { x, y, axis_ratio, angle })
}

impl Ellipse {
    /// Semi-major axis of the ellipse of this shape through the centre of the
    /// pixel, in pixels.
    #[must_use]
    pub fn semi_major_px(&self, x: i32, y: i32) -> f64 {
        let (dx, dy) = (f64::from(x) - f64::from(self.x), f64::from(y) - f64::from(self.y));
        let (sin, cos) = (scalar::sin(self.angle), scalar::cos(self.angle));
        let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let across = across / self.axis_ratio;
        (along * along + across * across).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of a square of half side `half` with mass `of(dx, dy)`.
    fn map(half: i32, of: impl Fn(f64, f64) -> f64) -> (Vec<i32>, Vec<i32>, Vec<f64>) {
        let (mut x, mut y, mut mass) = (Vec::new(), Vec::new(), Vec::new());
        for dy in -half..=half {
            for dx in -half..=half {
                x.push(100 + dx);
                y.push(-7 + dy);
                mass.push(of(f64::from(dx), f64::from(dy)));
            }
        }
        (x, y, mass)
    }

    /// Half of the mass of an exponential disc of scale length h lies within
    /// 1.678346990 h: the root of (1 + u) exp(-u) = 1/2.
    #[test]
    fn the_half_mass_radius_of_an_exponential_disc() {
        for h in [3.0, 8.0] {
            let half = (14.0 * h) as i32;
            let (x, y, mass) = map(half, |dx, dy| scalar::exp(-dx.hypot(dy) / h));
            let found = half_mass(&x, &y, &mass).unwrap();
            assert_eq!((found.x, found.y), (100, -7));
            let exact = 1.678_346_990 * h;
            // Sampled at centres of pixels, not integrated over them: the cusp misses
            // of order 1/h^2 of the mass, and rings of pixels make small steps.
            assert!((found.radius_px - exact).abs() < 0.05, "{h}: {} {exact}", found.radius_px);
        }
    }

    /// Half of the mass of a Gaussian of width s lies within s sqrt(2 ln 2).
    #[test]
    fn the_half_mass_radius_of_a_gaussian() {
        let s = 6.0;
        let (x, y, mass) = map(60, |dx, dy| scalar::exp(-0.5 * (dx * dx + dy * dy) / (s * s)));
        let found = half_mass(&x, &y, &mass).unwrap();
        let exact = s * (2.0 * scalar::ln(2.0)).sqrt();
        // Smooth on the scale of a pixel: rings of pixels make steps of a few
        // hundredths of a pixel.
        assert!((found.radius_px - exact).abs() < 0.05, "{} {exact}", found.radius_px);
        // Inside and outside hold the same mass, to that of the ring between.
        let radius: Vec<f64> =
            x.iter().zip(&y).map(|(&x, &y)| f64::from(x - 100).hypot(f64::from(y + 7))).collect();
        let share: f64 =
            (0..mass.len()).filter(|&i| found.contains(x[i], y[i])).map(|i| mass[i]).sum::<f64>()
                / mass.iter().sum::<f64>();
        assert!((share - 0.5).abs() < 0.02, "{share}");
        // Mean radius of a Gaussian, inside and outside of its half-mass radius,
        // by quadrature of r^2 exp(-r^2 / 2 s^2).
        let integral = |low: f64, high: f64| {
            let n = 20_000;
            let step = (high - low) / f64::from(n);
            let (mut sum, mut weight) = (0.0, 0.0);
            for i in 0..n {
                let r = low + (f64::from(i) + 0.5) * step;
                let w = r * scalar::exp(-0.5 * r * r / (s * s));
                sum += w * r;
                weight += w;
            }
            sum / weight
        };
        let means = found.means(&x, &y, &mass, &radius);
        assert_eq!(means.central, Some(0.0));
        assert!((means.inside.unwrap() - integral(0.0, exact)).abs() < 0.1, "{means:?}");
        assert!((means.outside.unwrap() - integral(exact, 60.0)).abs() < 0.1, "{means:?}");
    }

    #[test]
    fn the_order_of_rows_changes_no_bit() {
        let (mut x, mut y, mut mass) = map(12, |dx, dy| 1.0 / (1.0 + dx * dx + 2.0 * dy * dy));
        let before = (half_mass(&x, &y, &mass), ellipse(&x, &y, &mass));
        x.reverse();
        y.reverse();
        mass.reverse();
        assert_eq!(before, (half_mass(&x, &y, &mass), ellipse(&x, &y, &mass)));
    }

    #[test]
    fn an_ellipse_is_found_again() {
        for (q, angle) in [(0.5, 0.4), (0.3, -1.2), (0.8, 1.5)] {
            let (sin, cos) = (scalar::sin(angle), scalar::cos(angle));
            let (x, y, mass) = map(80, |dx, dy| {
                let (a, b) = (dx * cos + dy * sin, (dy * cos - dx * sin) / q);
                scalar::exp(-0.5 * (a * a + b * b) / 225.0)
            });
            let found = ellipse(&x, &y, &mass).unwrap();
            assert!((found.axis_ratio - q).abs() < 1e-3, "{found:?}");
            assert!((found.angle - angle).abs() < 1e-3, "{found:?}");
            let along = found
                .semi_major_px(100 + (30.0 * cos).round() as i32, -7 + (30.0 * sin).round() as i32);
            assert!((along - 30.0).abs() < 2.0, "{along}");
        }
    }

    #[test]
    fn few_pixels_and_lines_are_circles_and_nothing_is_nothing() {
        let circle = |x: &[i32], y: &[i32]| {
            let found = ellipse(x, y, &vec![1.0; x.len()]).unwrap();
            (found.axis_ratio, found.angle)
        };
        assert_eq!(circle(&[3], &[4]), (1.0, 0.0));
        let line: Vec<i32> = (0..50).collect();
        assert_eq!(circle(&line, &[0; 50]), (1.0, 0.0));
        let one = half_mass(&[3], &[4], &[2.0]).unwrap();
        assert_eq!((one.x, one.y), (3, 4));
        // A uniform disc holds half of its mass within radius / sqrt(2).
        assert!((one.radius_px - PIXEL_RADIUS * 0.5f64.sqrt()).abs() < 1e-15);
        assert_eq!(half_mass(&[], &[], &[]), None);
        let bad = [f64::NAN, 0.0, -1.0, f64::INFINITY];
        assert_eq!(half_mass(&[0, 1, 2, 3], &[0; 4], &bad), None);
        assert_eq!(ellipse(&[0, 1, 2, 3], &[0; 4], &bad), None);
        // A million pixels apart, and at the ends of what a position can be.
        let far = half_mass(&[i32::MIN, i32::MAX], &[i32::MIN, i32::MAX], &[1.0, 2.0]).unwrap();
        assert_eq!(far.x, i32::MAX);
        assert!(far.radius_px < PIXEL_RADIUS);
        let means = far.means(&[0], &[0], &[1.0], &[f64::NAN]);
        assert_eq!((means.central, means.inside, means.outside), (None, None, None));
    }
}
