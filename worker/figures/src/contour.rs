//! Densities of points in a plane, and the curves that enclose given shares of them.

use outshine_kernels::scalar;
use std::collections::BTreeMap;

/// Nodes on a side.
pub const NODES: usize = 48;
/// Narrowest and widest smoothing, in steps between nodes.
const SMOOTHING: (f64, f64) = (0.8, 6.0);

/// A smoothed histogram of points.
pub struct Density {
    /// `[NODES, NODES]`, the second coordinate first; sums to 1.
    nodes: Vec<f64>,
}

/// A closed curve, in steps between nodes.
pub type Loop = Vec<(f64, f64)>;

impl Density {
    /// Of the points whose coordinates, `[points]` each, are 0 to 1 within the plane. Each
    /// is shared by its four nodes and smoothed by a normal curve of the width of
    /// Scott (1992), points^(-1/6) of their scatter. `None` without any point inside.
    pub fn of(x: &[f64], y: &[f64]) -> Option<Self> {
        let mut nodes = vec![0.0; NODES * NODES];
        let step = (NODES - 1) as f64;
        let mut inside: Vec<(f64, f64)> = Vec::new();
        for (&x, &y) in x.iter().zip(y) {
            if (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y) {
                inside.push((x * step, y * step));
            }
        }
        let n = inside.len() as f64;
        for &(x, y) in &inside {
            let (i, j) = ((x as usize).min(NODES - 2), (y as usize).min(NODES - 2));
            let (u, v) = (x - i as f64, y - j as f64);
            for (di, dj, share) in [
                (0, 0, (1.0 - u) * (1.0 - v)),
                (1, 0, u * (1.0 - v)),
                (0, 1, (1.0 - u) * v),
                (1, 1, u * v),
            ] {
                nodes[(j + dj) * NODES + i + di] += share / n;
            }
        }
        if inside.is_empty() {
            return None;
        }
        let width = |of: fn(&(f64, f64)) -> f64| {
            let mean = inside.iter().map(of).sum::<f64>() / n;
            let scatter = (inside.iter().map(|p| (of(p) - mean).powi(2)).sum::<f64>() / n).sqrt();
            (scatter * scalar::pow(n, -1.0 / 6.0)).clamp(SMOOTHING.0, SMOOTHING.1)
        };
        let (wide, high) = (width(|p| p.0), width(|p| p.1));
        smooth(&mut nodes, wide, 1, NODES);
        smooth(&mut nodes, high, NODES, 1);
        Some(Self { nodes })
    }

    /// The density above which a share of the whole lies.
    pub fn level(&self, share: f64) -> f64 {
        let mut sorted = self.nodes.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = sorted.iter().sum();
        let mut sum = 0.0;
        for value in &sorted {
            sum += value;
            if sum >= share * total {
                return *value;
            }
        }
        0.0
    }

    /// The curves along which the density is `level`, closed at the edge of the plane,
    /// by marching squares; where two of them meet in a cell, they are kept apart.
    pub fn curves(&self, level: f64) -> Vec<Loop> {
        // With an empty border all around.
        let side = NODES + 2;
        let value = |i: usize, j: usize| {
            let inside = (1..=NODES).contains(&i) && (1..=NODES).contains(&j);
            if inside { self.nodes[(j - 1) * NODES + i - 1] } else { 0.0 }
        };
        // An edge is that from node (i, j) to the right (0) or up (1).
        type Edge = (usize, usize, u8);
        let mut next: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
        let mut join = |a: Edge, b: Edge| {
            next.entry(a).or_default().push(b);
            next.entry(b).or_default().push(a);
        };
        for j in 0..side - 1 {
            for i in 0..side - 1 {
                let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
                let above = corners.map(|(i, j)| value(i, j) > level);
                let edges = [(i, j, 0), (i + 1, j, 1), (i, j + 1, 0), (i, j, 1)];
                let crossed: Vec<Edge> =
                    (0..4).filter(|&k| above[k] != above[(k + 1) % 4]).map(|k| edges[k]).collect();
                match crossed[..] {
                    [a, b] => join(a, b),
                    [a, b, c, d] if above[0] => {
                        join(a, d);
                        join(b, c);
                    }
                    [a, b, c, d] => {
                        join(a, b);
                        join(c, d);
                    }
                    _ => {}
                }
            }
        }
        let point = |&(i, j, up): &Edge| {
            let (a, b) = (value(i, j), if up == 1 { value(i, j + 1) } else { value(i + 1, j) });
            let part = ((level - a) / (b - a)).clamp(0.0, 1.0);
            let (x, y) = (i as f64 - 1.0, j as f64 - 1.0);
            let (x, y) = if up == 1 { (x, y + part) } else { (x + part, y) };
            let end = (NODES - 1) as f64;
            (x.clamp(0.0, end), y.clamp(0.0, end))
        };
        let mut curves = Vec::new();
        // Every round takes out edges: bounded by their number.
        while let Some((&start, _)) = next.iter().next() {
            let mut curve = vec![point(&start)];
            let mut at = start;
            while let Some(to) = next.remove(&at).and_then(|mut ends| {
                ends.retain(|end| next.contains_key(end));
                ends.pop()
            }) {
                curve.push(point(&to));
                at = to;
            }
            curve.push(curve[0]);
            curves.push(curve);
        }
        curves
    }
}

/// Smooths lines of nodes: those of one are `along` apart, lines `across`.
fn smooth(nodes: &mut [f64], width: f64, along: usize, across: usize) {
    let reach = (4.0 * width).ceil() as usize;
    let weight = |k: usize| scalar::exp(-0.5 * (k as f64 / width).powi(2));
    let weights: Vec<f64> = (0..=reach).map(weight).collect();
    for line in 0..NODES {
        let before: Vec<f64> = (0..NODES).map(|k| nodes[line * across + k * along]).collect();
        for k in 0..NODES {
            let (low, high) = (k.saturating_sub(reach), (k + reach).min(NODES - 1));
            // What would be smoothed out of the plane stays in it.
            let (mut sum, mut all) = (0.0, 0.0);
            for (m, value) in before.iter().enumerate().take(high + 1).skip(low) {
                sum += weights[m.abs_diff(k)] * value;
                all += weights[m.abs_diff(k)];
            }
            nodes[line * across + k * along] = sum / all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// Within 1 and 2 standard deviations of a round normal distribution lie
    /// 39.3 and 86.5 %: circles of these radii, widened by the smoothing.
    #[test]
    fn curves_about_a_normal_distribution_are_circles() {
        let mut stream = Stream::new(1, Purpose::Draw, 0, 0);
        let n = 20_000;
        let mut draw = || (0..n).map(|_| 0.5 + 0.1 * stream.normal()).collect::<Vec<f64>>();
        let (x, y) = (draw(), draw());
        let density = Density::of(&x, &y).unwrap();
        for (share, sigmas) in [(0.393, 1.0), (0.865, 2.0)] {
            let curves = density.curves(density.level(share));
            assert_eq!(curves.len(), 1, "{share}");
            let middle = 0.5 * (NODES - 1) as f64;
            let radius: Vec<f64> =
                curves[0].iter().map(|(x, y)| (x - middle).hypot(y - middle)).collect();
            let mean = radius.iter().sum::<f64>() / radius.len() as f64 / (NODES - 1) as f64;
            // Smoothing of 0.19 widths or at least 0.8 nodes adds 2 %, the noise of 20,000
            // points as much.
            assert!((mean / (0.1 * sigmas) - 1.03).abs() < 0.06, "{share}: {mean}");
            assert_eq!(curves[0].first(), curves[0].last(), "closed");
        }
    }

    #[test]
    fn edges_and_few_points_do_no_harm() {
        assert!(Density::of(&[2.0, f64::NAN], &[0.5, 0.5]).is_none());
        let corner = Density::of(&[0.0, 1.0], &[0.0, 1.0]).unwrap();
        let curves = corner.curves(corner.level(0.5));
        assert!(!curves.is_empty() && curves.iter().all(|c| c.first() == c.last()));
        let end = (NODES - 1) as f64;
        let inside = |p: &(f64, f64)| (0.0..=end).contains(&p.0) && (0.0..=end).contains(&p.1);
        assert!(curves.iter().flatten().all(inside));
    }
}
