//! Networks with random weights, for tests and benchmarks.

use super::model::{Block, Card, Layer, PublishedModel, input_degrees};
use outshine_kernels::random::{Purpose, Stream};

impl PublishedModel {
    /// An untrained network of a given size, by sbi's rules: hidden degrees
    /// 1, ..., d - 1 in turn, two hidden layers after the initial one, weights
    /// uniform within 1 / sqrt(inputs), random permutations. The scales of a
    /// block lie around 1.
    ///
    /// # Panics
    /// When a size is 0.
    #[must_use]
    pub fn random(dims: usize, context: usize, blocks: usize, hidden: usize, seed: u64) -> Self {
        assert!(dims * context * blocks * hidden > 0, "a network has no size 0");
        let mut stream = Stream::new(seed, Purpose::Weights, dims as u64, hidden as u64);
        let mut uniform = |n: usize, inputs: usize| -> Vec<f32> {
            let most = 1.0 / (inputs as f64).sqrt();
            (0..n).map(|_| stream.uniform_in(-most, most) as f32).collect()
        };
        let free = usize::from(dims > 1);
        let degrees: Vec<usize> = (0..hidden).map(|j| j % (dims - free).max(1) + free).collect();
        let mut order = Stream::new(seed, Purpose::Shuffle, dims as u64, hidden as u64);
        let mut block = |_| {
            let mut inputs = input_degrees(dims);
            let mut layers = Vec::new();
            for k in 0..4 {
                let degrees = match k {
                    3 => (0..2 * dims).map(|j| j / 2 + 1).collect(),
                    _ => degrees.clone(),
                };
                let mut bias = uniform(degrees.len(), inputs.len());
                if k == 3 {
                    // softplus(0.54) = 1.
                    bias.iter_mut().step_by(2).for_each(|u| *u += 0.54);
                }
                let weight = uniform(degrees.len() * inputs.len(), inputs.len());
                inputs.clone_from(&degrees);
                layers.push(Layer { weight, bias, degrees });
            }
            Block {
                layers,
                context: uniform(hidden * context, context),
                context_bias: uniform(hidden, context),
                permutation: order.permutation(dims).into_iter().map(|i| i as usize).collect(),
            }
        };
        let blocks = (0..blocks).map(&mut block).collect();
        Self {
            card: Card {
                source: format!("random weights, seed {seed}"),
                theta: (0..dims).map(|i| format!("theta_{i}")).collect(),
                context: "standard normal".into(),
                transform: "sbi masked autoregressive flow".into(),
                made: "sbi".into(),
                box_prior_low: vec![-100.0; dims],
                box_prior_high: vec![100.0; dims],
                weights_sha256: None,
                vectors_sha256: None,
            },
            scale: (0..dims).map(|i| 0.5 + 0.25 * i as f32).collect(),
            shift: (0..dims).map(|i| 0.3 * i as f32 - 0.5).collect(),
            mean: uniform(context, 4),
            std: uniform(context, 4).iter().map(|x| 1.0 + x).collect(),
            blocks,
        }
    }
}
