//! Means over bins: how spectra given at nodes come onto a library's axes.

/// Means over bins of a function given at nodes and linear between them; zero
/// bluer than the first node, and redder than the last.
pub(super) struct Averages {
    /// Per bin: (node, weight).
    pub bins: Vec<Vec<(usize, f64)>>,
}

impl Averages {
    /// `nodes` (at least 2) and `edges` rise; any unit, the same for both.
    pub fn new(nodes: &[f64], edges: &[f64]) -> Self {
        let bins = edges
            .windows(2)
            .map(|edge| {
                let (low, high) = (edge[0], edge[1]);
                let mut weights: Vec<(usize, f64)> = Vec::new();
                let first = nodes.partition_point(|&x| x <= low).saturating_sub(1);
                for i in first..nodes.len() - 1 {
                    let (x0, x1) = (nodes[i], nodes[i + 1]);
                    let (a, b) = (low.max(x0), high.min(x1));
                    if x0 >= high {
                        break;
                    }
                    if b <= a {
                        continue;
                    }
                    // The mean of a linear function over a..b is its value half-way.
                    let part = (0.5 * (a + b) - x0) / (x1 - x0);
                    let share = (b - a) / (high - low);
                    for (node, weight) in [(i, (1.0 - part) * share), (i + 1, part * share)] {
                        match weights.iter_mut().find(|(n, _)| *n == node) {
                            Some((_, sum)) => *sum += weight,
                            None => weights.push((node, weight)),
                        }
                    }
                }
                weights
            })
            .collect();
        Self { bins }
    }

    /// The same for a function that keeps its first value before
    /// the first node, and its last value beyond the last.
    pub fn held(nodes: &[f64], edges: &[f64]) -> Self {
        let (first, last) = (edges[0], edges[edges.len() - 1]);
        let before = nodes[0] > first;
        let mut all: Vec<f64> = before.then_some(first).into_iter().collect();
        all.extend(nodes);
        if nodes[nodes.len() - 1] < last {
            all.push(last);
        }
        let mut averages = Self::new(&all, edges);
        for (node, _) in averages.bins.iter_mut().flatten() {
            *node = node.saturating_sub(usize::from(before)).min(nodes.len() - 1);
        }
        averages
    }

    /// `values`: one per node; `means`: one per bin.
    pub fn apply(&self, values: &[f64], means: &mut [f64]) {
        for (mean, bin) in means.iter_mut().zip(&self.bins) {
            *mean = bin.iter().map(|&(node, weight)| weight * values[node]).sum();
        }
    }

    /// The same for vectors: `values` (nodes, width) to means (bins, width).
    pub fn apply_rows(&self, values: &[f64], width: usize) -> Vec<f64> {
        let mut means = vec![0.0; self.bins.len() * width];
        for (mean, bin) in means.chunks_exact_mut(width).zip(&self.bins) {
            for &(node, weight) in bin {
                for (sum, v) in mean.iter_mut().zip(&values[node * width..]) {
                    *sum += weight * v;
                }
            }
        }
        means
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_a_straight_line_are_exact() {
        let nodes = [0.0, 1.0, 1.5, 4.0, 10.0];
        let values: Vec<f64> = nodes.iter().map(|x| 2.0 + 3.0 * x).collect();
        let edges = [0.0, 0.2, 0.9, 3.0, 9.0];
        let mut means = [0.0; 4];
        Averages::new(&nodes, &edges).apply(&values, &mut means);
        for (mean, e) in means.iter().zip(edges.windows(2)) {
            assert!((mean - (2.0 + 1.5 * (e[0] + e[1]))).abs() < 1e-12);
        }
    }

    #[test]
    fn ends_are_held() {
        let mut means = [0.0; 3];
        Averages::held(&[1.0, 2.0], &[0.0, 1.0, 2.0, 4.0]).apply(&[5.0, 7.0], &mut means);
        assert_eq!(means, [5.0, 6.0, 7.0]);
        Averages::held(&[-1.0, 9.0], &[0.0, 1.0, 2.0, 4.0]).apply(&[-1.0, 9.0], &mut means);
        for (mean, expected) in means.iter().zip([0.5, 1.5, 3.0]) {
            assert!((mean - expected).abs() < 1e-14, "nodes beyond the edges: a straight line");
        }
    }
}
