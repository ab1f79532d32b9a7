//! The network that a campaign would train, as far as cost goes: the section
//! `train` with its defaults, in figures.

use outshine_schemas::campaign::{Campaign, Section};

/// Coordinates of an estimator of Dirichlet histories, and of others.
const DIMS: [u64; 2] = [7, 5];
/// Masked layers of one block of a masked autoregressive flow.
const MAF_LAYERS: u64 = 3;

/// A network and its training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Inputs (a row of biases included) and units of each layer.
    pub layers: Vec<(u64, u64)>,
    /// Whether a checkpoint keeps directions of turned gradients.
    pub turned: bool,
    /// Passes over the training set, at most.
    pub max_epochs: u64,
    /// Whether it may stop before.
    pub may_stop: bool,
}

fn number(section: &Section, key: &str, default: u64) -> u64 {
    section.get(key).and_then(serde_json::Value::as_u64).unwrap_or(default)
}

impl Network {
    /// What the campaign's section `train` asks for.
    #[must_use]
    pub fn new(campaign: &Campaign) -> Self {
        let train = &campaign.train;
        let of = |key, default| number(train, key, default);
        let sfh = campaign.prior.get("sfh").and_then(serde_json::Value::as_str);
        let dims = DIMS[usize::from(sfh != Some("dirichlet"))];
        let context = 4 * campaign.bands.len() as u64 + 3;
        let (blocks, hidden) = (of("blocks", 2), of("hidden", 256));
        let max_epochs = of("max_epochs", 20);
        let maf = train.get("flow").and_then(serde_json::Value::as_str) == Some("maf");
        let mut layers = Vec::new();
        if maf {
            for _ in 0..blocks {
                layers.push((dims + context + 1, hidden));
                layers.extend((2..MAF_LAYERS).map(|_| (hidden + 1, hidden)));
                layers.push((hidden + 1, 2 * dims));
            }
        } else {
            let shape = (of("components", 4), of("couplings", 6), of("units", 32));
            layers.extend(coupling(dims, context, (blocks, hidden), shape));
        }
        let redshift = of("redshift_hidden", 128);
        if redshift > 0 {
            let shape = (of("redshift_components", 16), 0, 1);
            layers.extend(coupling(1, context - 2, (blocks, redshift), shape));
        }
        Self { layers, turned: !maf, max_epochs, may_stop: of("patience", 20) < max_epochs }
    }

    /// All weights.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.layers.iter().map(|(rows, cols)| rows * cols).sum()
    }

    /// A checkpoint: weights now and at their best, two moments of each, and of
    /// every turned layer two square matrices on either side.
    #[must_use]
    pub fn checkpoint_bytes(&self) -> u64 {
        let turned = |(rows, cols): &(u64, u64)| 2 * (rows * rows + cols * cols);
        let is_turned = |layer: &&(u64, u64)| self.turned && layer.0 > 1;
        let turns: u64 = self.layers.iter().filter(is_turned).map(turned).sum();
        4 * (4 * self.weights() + turns)
    }
}

/// Layers of a density whose network runs once per object.
fn coupling(
    dims: u64,
    context: u64,
    (blocks, hidden): (u64, u64),
    (components, couplings, units): (u64, u64, u64),
) -> Vec<(u64, u64)> {
    let mut outputs = components * (1 + 2 * dims + dims * (dims - 1) / 2);
    let mut weights = 0;
    // The couplings move some of the coordinates and the others in turn.
    let inner = if dims >= 4 { dims - 3 } else { dims / 2 };
    for i in 0..if dims > 1 { couplings } else { 0 } {
        let moved = if i % 2 == 0 { inner } else { dims - inner };
        outputs += units + 2 * moved;
        weights += units * (dims - moved + 2 * moved);
    }
    let mut layers = vec![(context + 1, hidden)];
    layers.extend((0..2 * blocks).map(|_| (hidden + 1, hidden)));
    layers.push((hidden + 1, outputs));
    if weights > 0 {
        layers.push((1, weights));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The figures of `deploy/campaigns/estimator-tau.toml`: its model has
    /// 5,142,016 bytes and its checkpoints 42.15 MB.
    #[test]
    fn the_shipped_estimator_has_its_size() {
        let text = "name = \"e\"\nestimator = \"train\"\n[field.mock]\n[train]\nhidden = 384\n\
                    blocks = 3\nredshift_hidden = 192\nmax_epochs = 200\npatience = 200\n";
        let campaign = Campaign::parse(text, "e.toml", Path::new("."), &[]).unwrap();
        let network = Network::new(&campaign);
        let model = 4 * network.weights();
        assert!((5_100_000..5_142_016).contains(&model), "{model}");
        let checkpoint = network.checkpoint_bytes() as f64 / 42_149_362.0;
        assert!((0.99..1.01).contains(&checkpoint), "{checkpoint}");
        assert!(!network.may_stop && network.max_epochs == 200);
    }
}
