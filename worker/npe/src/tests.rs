//! The candle graph and the sampler, looked at together.

use crate::coordinates::Coordinates;
use crate::features::FeatureSpec;
use crate::flow::Architecture;
use crate::flow::maf::Maf;
use crate::matmul::Level;
use crate::model::{Model, TrainingFacts};
use crate::sampler::{Sampler, Scratch};
use crate::standardisation::Standardisation;
use crate::train::TrainConfig;
use outshine_kernels::random::{Purpose, Stream};
use std::collections::BTreeMap;

/// A flow with random weights of ordinary size, outputs included.
fn random_weights(flow: &Maf, seed: u64) -> Vec<Vec<f32>> {
    let mut weights = flow.initial_weights(seed);
    for (k, layer) in weights.iter_mut().enumerate() {
        let mut stream = Stream::new(seed, Purpose::Weights, 100 + k as u64, 0);
        let gain = if k % 3 == 2 { 30.0 } else { 1.0 };
        // Biases are zero at the start: the last rows are given values.
        let from = layer.len() - 4;
        for x in &mut layer[..] {
            *x *= gain;
        }
        for x in &mut layer[from..] {
            *x = 0.3 * stream.normal() as f32;
        }
    }
    weights
}

fn random_model(dims: usize, hidden: usize, blocks: usize) -> Model {
    let bands: Vec<String> = (0..4).map(|b| format!("b{b}")).collect();
    let features = FeatureSpec::new(bands, vec![1.0; 4]).unwrap();
    let names = (0..dims).map(|i| format!("t{i}")).collect();
    let coordinates = Coordinates::new(names, vec![-1.0; dims], vec![2.0; dims]).unwrap();
    let c = features.len();
    let architecture = Architecture { dims, features: c, blocks, hidden };
    let flow = Maf::new(architecture, Level::detect());
    let mut stream = Stream::new(8, Purpose::Weights, 0, 9);
    let standardisation = Standardisation {
        mean: (0..c).map(|_| stream.normal() as f32).collect(),
        inverse_scale: vec![0.5; c],
        weight: (0..dims * (c + 1)).map(|_| 0.5 + 0.05 * stream.normal()).collect(),
        spread: vec![0.3; dims],
    };
    let training = TrainingFacts {
        config: TrainConfig::default(),
        examples: 0,
        epochs: 0,
        best_epoch: 0,
        validation_loss: 0.0,
    };
    let weights = random_weights(&flow, 4);
    Model::new(
        architecture,
        coordinates,
        features,
        standardisation,
        weights,
        training,
        BTreeMap::new(),
    )
}

fn pixel(key: u64) -> ([f32; 4], [f32; 4]) {
    let mut s = Stream::new(2, Purpose::MockPixel, key, 0);
    (std::array::from_fn(|_| (3.0 + 2.0 * s.normal()) as f32), [1.0, 0.5, 0.0, 2.0])
}

#[test]
fn the_jacobian_is_triangular_in_each_blocks_order() {
    for block in 0..4 {
        // One block at a time, as block `block` of a longer flow.
        let architecture = Architecture { dims: 4, features: 3, blocks: block + 1, hidden: 24 };
        let flow = Maf::new(architecture, Level::detect());
        let mut weights = random_weights(&flow, 5);
        for layer in &mut weights[..3 * block] {
            layer.fill(0.0); // earlier blocks do nothing
        }
        let vars = flow.variables(&weights).unwrap();
        let base = [0.3f32, -0.4, 0.8, 0.1];
        let context = [0.5f32, -1.0, 0.2];
        let noise = |w: &[f32]| {
            flow.to_noise(&vars, w, &context).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let start: Vec<f32> = noise(&base);
        let place = architecture.mask(block).place;
        let mut touched = 0;
        for from in 0..4 {
            let mut moved = base;
            moved[from] += 0.05;
            let end: Vec<f32> = noise(&moved);
            for to in 0..4 {
                let change = end[to] - start[to];
                if place[to] < place[from] {
                    assert_eq!(change, 0.0, "block {block}: {from} reaches {to}");
                } else if change != 0.0 {
                    touched += 1;
                }
            }
        }
        // The diagonal and the lower triangle are there.
        assert_eq!(touched, 10, "block {block}");
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let architecture = Architecture { dims: 3, features: 5, blocks: 2, hidden: 12 };
    let flow = Maf::new(architecture, Level::detect());
    let weights = random_weights(&flow, 6);
    let mut s = Stream::new(1, Purpose::Simulation, 0, 0);
    let w: Vec<f32> = (0..7 * 3).map(|_| s.normal() as f32).collect();
    let context: Vec<f32> = (0..7 * 5).map(|_| s.normal() as f32).collect();
    let loss = |weights: &[Vec<f32>]| {
        let vars = flow.variables(weights).unwrap();
        let log_q = flow.log_density(&vars, &w, &context).unwrap();
        -log_q.iter().sum::<f64>() / 7.0
    };
    let vars = flow.variables(&weights).unwrap();
    let (_, gradient) = flow.loss_and_gradient(&vars, &w, &context, 7).unwrap();
    let (mut checked, mut wrong) = (0, 0);
    for layer in 0..weights.len() {
        let g = gradient[layer].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for k in (0..g.len()).step_by(2) {
            if weights[layer][k] == 0.0 {
                continue; // masked: tested below
            }
            let h = 1e-2;
            let mut moved = weights.clone();
            moved[layer][k] = weights[layer][k] + h;
            let up = loss(&moved);
            moved[layer][k] = weights[layer][k] - h;
            let slope = (up - loss(&moved)) / (2.0 * f64::from(h));
            checked += 1;
            // f32 noise of the loss over 2 h is about 1e-4; a kink of a relu
            // within h of a point makes a few slopes wrong by more.
            if (slope - f64::from(g[k])).abs() > 2e-3 + 0.02 * slope.abs() {
                wrong += 1;
            }
        }
    }
    assert!(checked > 100 && wrong * 20 < checked, "{wrong} of {checked} slopes differ");
    let mask = architecture.mask(0);
    let hidden = gradient[1].to_vec2::<f32>().unwrap();
    for i in 0..12 {
        for j in 0..12 {
            assert!(mask.hidden(i, j) || hidden[i][j] == 0.0, "a masked weight would move");
        }
    }
}

#[test]
fn the_sampler_and_candle_agree_on_the_density() {
    for (dims, hidden, blocks) in [(1, 6, 2), (2, 9, 3), (5, 33, 5)] {
        let model = random_model(dims, hidden, blocks);
        let sampler = Sampler::new(&model);
        let flow = Maf::new(model.architecture, Level::detect());
        let vars = flow.variables(&model.weights).unwrap();
        let mut s = Stream::new(3, Purpose::Calibration, dims as u64, 0);
        for key in 0..40 {
            let (flux, err) = pixel(key);
            let theta: Vec<f64> = (0..dims).map(|_| s.uniform_in(-1.0, 2.0)).collect();
            let mut raw = vec![0.0; model.features.len()];
            model.features.features(&flux, &err, 1.2, &mut raw);
            let mut context = raw.clone();
            let (mut centre, mut scale) = (vec![0.0; dims], vec![0.0; dims]);
            model.standardisation.context(&raw, &mut context);
            model.standardisation.crude(&context, &mut centre, &mut scale);
            let (mut w, mut log_jacobian) = (Vec::new(), 0.0);
            for i in 0..dims {
                let (u, slope) = model.coordinates.to_unbounded(i, theta[i]);
                w.push(((u - centre[i]) / scale[i]) as f32);
                log_jacobian += slope - scale[i].ln();
            }
            let candle = flow.log_density(&vars, &w, &context).unwrap()[0] + log_jacobian;
            let own = sampler.log_prob(&flux, &err, 1.2, &theta);
            // f32 rounding: 1e-4 for densities of ordinary size.
            assert!((own - candle).abs() < 1e-4 * candle.abs().max(1.0), "{own} {candle}");
        }
    }
}

#[test]
fn a_draw_goes_back_to_its_noise() {
    let model = random_model(5, 32, 4);
    let sampler = Sampler::new(&model);
    for key in 0..20 {
        let (flux, err) = pixel(key);
        let mut out = vec![0.0; 5 * 50];
        let mut stream = Stream::new(7, Purpose::Draw, key, 0);
        sampler.draw(&flux, &err, 1.0, &mut stream, 50, &mut Scratch::default(), &mut out).unwrap();
        let mut noise = Stream::new(7, Purpose::Draw, key, 0);
        for draw in out.chunks_exact(5) {
            let back = sampler.noise_of(&flux, &err, 1.0, draw);
            let near_edge = draw.iter().any(|v| (v + 1.0).min(2.0 - v) < 3e-6);
            for z in back {
                let expected = noise.normal();
                // Rounding in f32 through four blocks of random weights.
                assert!(near_edge || (z - expected).abs() < 5e-3, "{z} {expected}");
            }
        }
    }
}

#[test]
fn no_instruction_set_changes_a_bit() {
    let model = random_model(5, 40, 3);
    let architecture = Architecture { dims: 3, features: 5, blocks: 2, hidden: 19 };
    let mut first: Option<(Vec<u64>, Vec<u32>)> = None;
    for &level in Level::available() {
        let sampler = Sampler::new(&model).with_level(level);
        let (flux, err) = pixel(1);
        let mut out = vec![0.0; 5 * 70];
        let mut stream = Stream::new(7, Purpose::Draw, 1, 0);
        sampler.draw(&flux, &err, 1.0, &mut stream, 70, &mut Scratch::default(), &mut out).unwrap();
        let mut draws: Vec<u64> = out.iter().map(|v| v.to_bits()).collect();
        draws.push(sampler.log_prob(&flux, &err, 1.0, &[0.5; 5]).to_bits());

        let flow = Maf::new(architecture, level);
        let vars = flow.variables(&random_weights(&flow, 6)).unwrap();
        let mut s = Stream::new(1, Purpose::Simulation, 0, 0);
        let w: Vec<f32> = (0..21 * 3).map(|_| s.normal() as f32).collect();
        let context: Vec<f32> = (0..21 * 5).map(|_| s.normal() as f32).collect();
        let (_, gradient) = flow.loss_and_gradient(&vars, &w, &context, 21).unwrap();
        let gradient: Vec<u32> = gradient
            .iter()
            .flat_map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .map(f32::to_bits)
            .collect();
        match &first {
            None => first = Some((draws, gradient)),
            Some((d, g)) => assert!(*d == draws && *g == gradient, "{level:?}"),
        }
    }
    assert!(first.is_some());
}
