//! The candle graph and the sampler, looked at together.

use crate::coordinates::Coordinates;
use crate::density::{Density, DensitySpec, Target};
use crate::features::FeatureSpec;
use crate::flow::coupling::Tails;
use crate::flow::maf::Maf;
use crate::flow::{Architecture, CouplingShape, Flow, MafShape, variables};
use crate::matmul::Level;
use crate::model::{Model, TrainingFacts};
use crate::recalibration::tests::tilted;
use crate::sampler::{Object, Sampler, Scratch};
use crate::standardisation::Standardisation;
use crate::train::TrainConfig;
use candle_core::Device;
use outshine_kernels::random::{Purpose, Stream};
use std::collections::BTreeMap;

/// Weights of ordinary size, those that start at zero included; masked ones stay zero.
fn random_weights(flow: &dyn Flow, seed: u64) -> Vec<Vec<f32>> {
    let mut weights = flow.initial_weights(seed, 0);
    for (k, (values, layer)) in weights.iter_mut().zip(flow.layers()).enumerate() {
        let mut stream = Stream::new(seed, Purpose::Weights, 100 + k as u64, 0);
        let masked_output = layer.name.ends_with("layer.2");
        let gain = if masked_output { 30.0 } else { 1.0 };
        for x in &mut values[..] {
            *x *= gain;
        }
        // Biases, and all of a layer that starts at zero.
        let fill = if layer.name.starts_with("flow") { values.len() - 4 } else { 0 };
        for x in &mut values[fill..] {
            if layer.name.starts_with("flow") || *x == 0.0 {
                *x = 0.3 * stream.normal() as f32;
            }
        }
    }
    weights
}

fn maf(dims: usize, context: usize, blocks: usize, hidden: usize) -> Architecture {
    Architecture::Maf(MafShape { dims, context, blocks, hidden })
}

pub(crate) fn coupling(
    dims: usize,
    context: usize,
    couplings: usize,
    hidden: usize,
) -> Architecture {
    let (blocks, components, units) = (1, 3, 7);
    // As in a model: the redshift, alone, is logistic.
    let tails = if dims == 1 { Tails::Logistic } else { Tails::Normal };
    let shape =
        CouplingShape { dims, context, blocks, hidden, components, couplings, units, tails };
    Architecture::Coupling(shape)
}

/// A model with random weights, made from the architecture of each density.
pub(crate) fn random_model(architecture: impl Fn(usize) -> Architecture, redshift: bool) -> Model {
    let bands: Vec<String> = (0..4).map(|b| format!("b{b}")).collect();
    let features = FeatureSpec::new(bands, vec![1.0; 4]).unwrap();
    let c = features.len();
    let architecture = architecture(c);
    let dims = architecture.dims();
    let names = (0..dims).map(|i| format!("t{i}")).collect();
    let coordinates = Coordinates::new(names, vec![-1.0; dims], vec![2.0; dims]).unwrap();
    let target = Target { coordinates: coordinates.clone(), redshift: (0.0, 6.0), features };
    let mut specs = vec![DensitySpec { architecture, coordinates }];
    if redshift {
        let coordinates = Coordinates::new(vec!["z".into()], vec![0.0], vec![6.0]).unwrap();
        specs.push(DensitySpec { architecture: coupling(1, c - 2, 0, 9), coordinates });
    }
    let densities = specs.into_iter().enumerate().map(|(k, spec)| {
        let mut stream = Stream::new(8, Purpose::Weights, k as u64, 9);
        let (d, c) = (spec.architecture.dims(), spec.architecture.context());
        let standardisation = Standardisation {
            mean: (0..c).map(|_| stream.normal() as f32).collect(),
            inverse_scale: vec![0.5; c],
            weight: (0..d * (c + 1)).map(|_| 0.5 + 0.05 * stream.normal()).collect(),
            spread: vec![0.3; d],
        };
        let weights = random_weights(&*spec.architecture.flow(Level::detect()), 4);
        Density { spec, standardisation, weights }
    });
    let training = TrainingFacts {
        config: TrainConfig::default(),
        examples: 0,
        epochs: 0,
        best_epoch: 0,
        validation_loss: 0.0,
    };
    Model::new(target, densities.collect(), training, BTreeMap::new())
}

fn pixel(key: u64) -> ([f32; 4], [f32; 4]) {
    let mut s = Stream::new(2, Purpose::MockPixel, key, 0);
    (std::array::from_fn(|_| (3.0 + 2.0 * s.normal()) as f32), [1.0, 0.5, 0.0, 2.0])
}

/// `n` draws of one object, [d, n].
pub(crate) fn draws(sampler: &Sampler, object: &Object<'_>, key: u64, n: usize) -> Vec<f32> {
    let seen = sampler.see(&[*object]).unwrap();
    let mut out = vec![0.0; n * sampler.coordinates().len()];
    let mut stream = Stream::new(7, Purpose::Draw, key, 0);
    sampler.draw(&seen, 0, &mut stream, n, &mut Scratch::default(), &mut out).unwrap();
    out
}

#[test]
fn the_jacobian_is_triangular_in_each_blocks_order() {
    for block in 0..4 {
        // One block at a time, as block `block` of a longer flow.
        let shape = MafShape { dims: 4, context: 3, blocks: block + 1, hidden: 24 };
        let flow = Maf::new(shape, Level::detect());
        let mut weights = random_weights(&flow, 5);
        for layer in &mut weights[..3 * block] {
            layer.fill(0.0); // earlier blocks do nothing
        }
        let vars = variables(&flow.layers(), &weights, &Device::Cpu).unwrap();
        let base = [0.3f32, -0.4, 0.8, 0.1];
        let context = [0.5f32, -1.0, 0.2];
        let noise = |w: &[f32]| {
            flow.to_noise(&vars, w, &context).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let start: Vec<f32> = noise(&base);
        let place = shape.mask(block).place;
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
    for (architecture, few) in
        [(maf(3, 5, 2, 12), 100), (coupling(5, 5, 4, 12), 200), (coupling(1, 5, 0, 12), 80)]
    {
        let flow = architecture.flow(Level::detect());
        let d = architecture.dims();
        let weights = random_weights(&*flow, 6);
        let mut s = Stream::new(1, Purpose::Simulation, 0, 0);
        let w: Vec<f32> = (0..7 * d).map(|_| s.normal() as f32).collect();
        let context: Vec<f32> = (0..7 * 5).map(|_| s.normal() as f32).collect();
        let loss = |weights: &[Vec<f32>]| {
            let vars = variables(&flow.layers(), weights, &Device::Cpu).unwrap();
            flow.loss_and_gradient(&vars, &w, &context, 7).unwrap().0
        };
        let vars = variables(&flow.layers(), &weights, &Device::Cpu).unwrap();
        let (value, gradient) = flow.loss_and_gradient(&vars, &w, &context, 7).unwrap();
        // The loss is -ln q, but for rows that are far from everything.
        let log_q = flow.log_density(&vars, &w, &context).unwrap();
        if log_q.iter().all(|q| *q > -30.0) {
            assert!((value + log_q.iter().sum::<f64>() / 7.0).abs() < 1e-5 * value.abs().max(1.0));
        } else {
            assert!(value < -log_q.iter().sum::<f64>() / 7.0);
        }
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
        assert!(
            checked > few && wrong * 20 < checked,
            "{wrong} of {checked} slopes differ: {architecture:?}"
        );
    }
    let shape = MafShape { dims: 3, context: 5, blocks: 2, hidden: 12 };
    let flow = Maf::new(shape, Level::detect());
    let vars = variables(&flow.layers(), &random_weights(&flow, 6), &Device::Cpu).unwrap();
    let gradient = flow.loss_and_gradient(&vars, &[0.3; 3], &[0.5; 5], 1).unwrap().1;
    let hidden = gradient[1].to_vec2::<f32>().unwrap();
    let mask = shape.mask(0);
    for i in 0..12 {
        for j in 0..12 {
            assert!(mask.hidden(i, j) || hidden[i][j] == 0.0, "a masked weight would move");
        }
    }
}

#[test]
fn the_sampler_and_candle_agree_on_the_density() {
    for model in [
        random_model(|c| maf(1, c, 2, 6), false),
        random_model(|c| maf(5, c, 5, 33), false),
        random_model(|c| coupling(5, c, 4, 33), true),
        random_model(|c| coupling(1, c, 2, 5), false),
    ] {
        let sampler = Sampler::new(&model);
        let density = &model.densities[0];
        let dims = density.spec.architecture.dims();
        let flow = density.spec.architecture.flow(Level::detect());
        let vars = variables(&flow.layers(), &density.weights, &Device::Cpu).unwrap();
        let mut s = Stream::new(3, Purpose::Calibration, dims as u64, 0);
        for key in 0..40 {
            let (flux, err) = pixel(key);
            let theta: Vec<f64> = (0..dims).map(|_| s.uniform_in(-1.0, 2.0)).collect();
            let mut raw = vec![0.0; model.features().len()];
            model.features().features(&flux, &err, 1.2, &mut raw);
            let mut context = raw.clone();
            let (mut centre, mut scale) = (vec![0.0; dims], vec![0.0; dims]);
            density.standardisation.context(&raw, &mut context);
            density.standardisation.crude(&context, &mut centre, &mut scale);
            let (mut w, mut log_jacobian) = (Vec::new(), 0.0);
            for i in 0..dims {
                let (u, slope) = model.coordinates().to_unbounded(i, theta[i]);
                w.push(((u - centre[i]) / scale[i]) as f32);
                log_jacobian += slope - scale[i].ln();
            }
            let candle = flow.log_density(&vars, &w, &context).unwrap()[0] + log_jacobian;
            let object = Object { flux: &flux, err: &err, redshift: 1.2 };
            let own = sampler.log_prob(&object, &theta);
            // f32 rounding: 1e-4 for densities of ordinary size.
            assert!((own - candle).abs() < 1e-4 * candle.abs().max(1.0), "{own} {candle}");
        }
    }
}

#[test]
fn no_instruction_set_changes_a_bit() {
    let own = || random_model(|c| coupling(5, c, 4, 40), true);
    // Bright, where the tilt reaches.
    for (model, architecture, brighter) in [
        (random_model(|c| maf(5, c, 3, 40), false), maf(3, 5, 2, 19), 1.0),
        (own(), coupling(3, 5, 3, 19), 1.0),
        (tilted(own(), 0.7), coupling(3, 5, 3, 19), 1e3),
    ] {
        let mut first: Option<(Vec<u64>, Vec<u32>)> = None;
        for &level in Level::available() {
            let sampler = Sampler::at_level(&model, level);
            let (flux, err) = pixel(1);
            let flux = flux.map(|f| brighter * f);
            let object = Object { flux: &flux, err: &err, redshift: 1.0 };
            let out = draws(&sampler, &object, 1, 70);
            let mut draws: Vec<u64> = out.iter().map(|v| u64::from(v.to_bits())).collect();
            draws.push(sampler.log_prob(&object, &[0.5; 5]).to_bits());
            if let Some(p) = sampler.redshift(&flux, &err).unwrap() {
                draws.push(p.quantile(0.3).to_bits());
            }

            let flow = architecture.flow(level);
            let vars = variables(&flow.layers(), &random_weights(&*flow, 6), &Device::Cpu).unwrap();
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
}
