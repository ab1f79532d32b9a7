//! The laid-out sampler against the definition, in double precision with dense
//! masks, and against what sbi computed; damaged files.

use super::model::{Block, input_degrees};
use super::*;
use crate::matmul::Level;
use crate::storage::Arrays;
use outshine_kernels::random::{Purpose, Stream};
use std::path::PathBuf;

fn normals(n: usize, key: u64) -> Vec<f32> {
    let mut stream = Stream::new(3, Purpose::Draw, key, 0);
    (0..n).map(|_| stream.normal() as f32).collect()
}

/// Raw scale and shift per coordinate, straight from the definition.
fn made(model: &PublishedModel, block: &Block, context: &[f32], x: &[f64]) -> Vec<f64> {
    let c: Vec<f64> = (0..context.len())
        .map(|i| f64::from(context[i] - model.mean[i]) / f64::from(model.std[i]))
        .collect();
    let mut units = x.to_vec();
    let mut degrees = input_degrees(x.len());
    for (k, layer) in block.layers.iter().enumerate() {
        let is_final = k + 1 == block.layers.len();
        let mut next: Vec<f64> = layer.bias.iter().map(|&b| f64::from(b)).collect();
        for j in 0..next.len() {
            for i in 0..units.len() {
                if layer.sees(j, degrees[i], is_final) {
                    next[j] += f64::from(layer.weight[j * units.len() + i]) * units[i];
                }
            }
            if k == 0 {
                let row = block.context[j * c.len()..(j + 1) * c.len()].iter();
                let sum: f64 = row.zip(&c).map(|(&w, c)| f64::from(w) * c).sum();
                next[j] += (f64::from(block.context_bias[j]) + sum).tanh();
            }
            if !is_final {
                next[j] = next[j].tanh();
            }
        }
        units = next;
        degrees.clone_from(&layer.degrees);
    }
    units
}

fn scale_of(raw: f64) -> f64 {
    raw.max(0.0) + (-raw.abs()).exp().ln_1p() + f64::from(LEAST_SCALE)
}

/// Noise and ln |dz / dtheta|, in double precision.
fn exact_noise(model: &PublishedModel, context: &[f32], theta: &[f64]) -> (Vec<f64>, f64) {
    let mut log_det = 0.0;
    let mut z = Vec::new();
    for i in 0..theta.len() {
        let scale = f64::from(model.scale[i]);
        z.push(theta[i] * scale + f64::from(model.shift[i]));
        log_det += scale.abs().ln();
    }
    for block in &model.blocks {
        let out = made(model, block, context, &z);
        for i in 0..z.len() {
            let scale = scale_of(out[2 * i]);
            z[i] = z[i] * scale + out[2 * i + 1];
            log_det += scale.ln();
        }
        z = block.permutation.iter().map(|&i| z[i]).collect();
    }
    (z, log_det)
}

fn exact_log_prob(model: &PublishedModel, context: &[f32], theta: &[f64]) -> f64 {
    let (z, log_det) = exact_noise(model, context, theta);
    let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    log_det - z.iter().map(|z| 0.5 * z * z + half_ln_tau).sum::<f64>()
}

/// Theta of one noise vector in double precision, by d dense passes per block.
fn exact_theta(model: &PublishedModel, context: &[f32], noise: &[f32]) -> Vec<f64> {
    let mut z: Vec<f64> = noise.iter().map(|&z| f64::from(z)).collect();
    for block in model.blocks.iter().rev() {
        let mut y = vec![0.0; z.len()];
        for (i, &from) in block.permutation.iter().enumerate() {
            y[from] = z[i];
        }
        z.fill(0.0);
        for i in 0..y.len() {
            let out = made(model, block, context, &z);
            z[i] = (y[i] - out[2 * i + 1]) / scale_of(out[2 * i]);
        }
    }
    let unscaled =
        |(i, z): (usize, f64)| (z - f64::from(model.shift[i])) / f64::from(model.scale[i]);
    z.into_iter().enumerate().map(unscaled).collect()
}

/// Draws of every size of network against the definition, and back.
#[test]
fn draws_are_those_of_the_definition_and_lead_back_to_their_noise() {
    for (d, c, blocks, hidden) in [(1, 2, 2, 5), (2, 3, 3, 9), (4, 5, 6, 22), (7, 39, 5, 64)] {
        let model = PublishedModel::random(d, c, blocks, hidden, 11);
        let sampler = Sampler::new(&model);
        let mut scratch = Scratch::default();
        let context = normals(c, 1);
        let n = 67; // More than one group, the last not full.
        let noise = normals(n * d, 2);
        let mut theta = vec![0.0; n * d];
        sampler.theta_of_noise(&context, &noise, &mut scratch, &mut theta).unwrap();
        for k in [0, 30, 66] {
            let exact = exact_theta(&model, &context, &noise[k * d..(k + 1) * d]);
            for i in 0..d {
                // Spreads are of order 1; single precision keeps seven digits.
                assert!((theta[k * d + i] - exact[i]).abs() < 2e-5, "{d} {k} {i}");
            }
        }
        let (mut back, mut log_det) = (vec![0.0; n * d], vec![0.0; n]);
        sampler.noise_of_theta(&context, &theta, &mut scratch, &mut back, &mut log_det).unwrap();
        for (a, b) in back.iter().zip(&noise) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
    }
}

/// The determinant of d z / d theta by central differences of the definition,
/// on a network small enough to do it by hand.
#[test]
fn densities_are_those_of_the_change_of_variables() {
    let d = 3;
    let model = PublishedModel::random(d, 2, 4, 8, 5);
    let context = normals(2, 7);
    let theta = [0.3, -0.8, 0.5];
    let step = 1e-5;
    let mut jacobian = [[0.0; 3]; 3];
    for j in 0..d {
        let at = |sign: f64| {
            let mut moved = theta;
            moved[j] += sign * step;
            exact_noise(&model, &context, &moved).0
        };
        let (up, down) = (at(1.0), at(-1.0));
        for i in 0..d {
            jacobian[i][j] = (up[i] - down[i]) / (2.0 * step);
        }
    }
    let m = &jacobian;
    let minor = |a: usize, b: usize| m[1][a] * m[2][b] - m[1][b] * m[2][a];
    let det = m[0][0] * minor(1, 2) - m[0][1] * minor(0, 2) + m[0][2] * minor(0, 1);
    let (z, log_det) = exact_noise(&model, &context, &theta);
    assert!((det.abs().ln() - log_det).abs() < 1e-7);
    let normal: f64 = z.iter().map(|z| -0.5 * z * z - 0.5 * std::f64::consts::TAU.ln()).sum();
    let mut log_prob = [0.0];
    let sampler = Sampler::new(&model);
    sampler.log_prob(&context, &theta, &mut Scratch::default(), &mut log_prob).unwrap();
    assert!((log_prob[0] - (normal + det.abs().ln())).abs() < 1e-5, "{log_prob:?}");
}

/// Units of degree 0, which sbi's own masks do not have, other degrees in each
/// layer, and a file written and read back.
#[test]
fn any_degrees_are_laid_out() {
    let (d, c, h) = (4, 3, 17);
    let mut model = PublishedModel::random(d, c, 3, h, 2);
    let mut stream = Stream::new(1, Purpose::Weights, 1, 1);
    for block in &mut model.blocks {
        for layer in &mut block.layers[..3] {
            layer.degrees.iter_mut().for_each(|g| *g = stream.below(d as u64) as usize);
        }
    }
    let bytes = model.to_safetensors();
    let read = PublishedModel::from_files(&model.to_json(None), &bytes).unwrap();
    assert_eq!(read.blocks, model.blocks);
    assert_eq!(read.to_safetensors(), bytes);
    let (context, noise) = (normals(c, 1), normals(d, 2));
    let mut theta = vec![0.0; d];
    let sampler = Sampler::new(&read);
    sampler.theta_of_noise(&context, &noise, &mut Scratch::default(), &mut theta).unwrap();
    let exact = exact_theta(&model, &context, &noise);
    for i in 0..d {
        assert!((theta[i] - exact[i]).abs() < 1e-5, "{theta:?} {exact:?}");
    }
}

/// The size of network that the paper trained: single precision over 15 blocks
/// of 500 units stays within the tolerance of the reference.
#[test]
fn single_precision_is_enough_for_fifteen_blocks_of_500_units() {
    let (d, c) = (7, 39);
    let model = PublishedModel::random(d, c, 15, 500, 9);
    let sampler = Sampler::new(&model);
    let mut scratch = Scratch::default();
    let context = normals(c, 4);
    let n = 4;
    let noise = normals(n * d, 5);
    let mut theta = vec![0.0; n * d];
    sampler.theta_of_noise(&context, &noise, &mut scratch, &mut theta).unwrap();
    let mut log_prob = vec![0.0; n];
    sampler.log_prob(&context, &theta, &mut scratch, &mut log_prob).unwrap();
    // The spread of many draws.
    let many = 512;
    let mut draws = vec![0.0; many * d];
    let mut stream = Stream::new(1, Purpose::Draw, 0, 0);
    sampler.draw(&context, &mut stream, many, &mut scratch, &mut draws).unwrap();
    let (mut worst, mut worst_log_prob) = (0.0f64, 0.0f64);
    for k in 0..n {
        let exact = exact_theta(&model, &context, &noise[k * d..(k + 1) * d]);
        for i in 0..d {
            let values: Vec<f64> = draws.iter().skip(i).step_by(d).copied().collect();
            let mean = values.iter().sum::<f64>() / many as f64;
            let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
            let spread = (variance / many as f64).sqrt();
            worst = worst.max((theta[k * d + i] - exact[i]).abs() / spread);
        }
        let exact = exact_log_prob(&model, &context, &theta[k * d..(k + 1) * d]);
        worst_log_prob = worst_log_prob.max((log_prob[k] - exact).abs());
    }
    println!("15 x 500: theta {worst:.2e} of its spread, log_prob {worst_log_prob:.2e}");
    assert!(worst < TOLERANCE && worst_log_prob < TOLERANCE, "{worst} {worst_log_prob}");
}

#[test]
fn neither_the_processor_nor_the_group_changes_a_bit() {
    let (d, c) = (5, 6);
    let model = PublishedModel::random(d, c, 3, 40, 1);
    let (context, noise) = (normals(c, 1), normals(150 * d, 2));
    let mut expected = vec![0.0; noise.len()];
    let sampler = Sampler::new(&model);
    let mut scratch = Scratch::default();
    sampler.theta_of_noise(&context, &noise, &mut scratch, &mut expected).unwrap();
    for &level in Level::available() {
        let sampler = Sampler::new(&model).with_level(level);
        let mut theta = vec![0.0; noise.len()];
        sampler.theta_of_noise(&context, &noise, &mut scratch, &mut theta).unwrap();
        assert_eq!(theta, expected, "{level:?}");
    }
    let mut alone = vec![0.0; d];
    sampler.theta_of_noise(&context, &noise[140 * d..141 * d], &mut scratch, &mut alone).unwrap();
    assert_eq!(alone, expected[140 * d..141 * d]);
}

#[test]
fn input_is_checked() {
    let model = PublishedModel::random(2, 3, 1, 4, 1);
    let sampler = Sampler::new(&model);
    let mut scratch = Scratch::default();
    let mut theta = [0.0; 2];
    let mut look = |context: &[f32], noise: &[f32]| {
        sampler.theta_of_noise(context, noise, &mut scratch, &mut theta).unwrap_err().to_string()
    };
    assert!(look(&[0.0; 2], &[0.0; 2]).contains("`context` has 2 values"));
    assert!(look(&[0.0, f32::NAN, 0.0], &[0.0; 2]).contains("value 1"));
    assert!(look(&[0.0; 3], &[0.0; 3]).contains("`points`"));
    assert!(look(&[0.0; 3], &[0.0; 4]).contains("`out`"));
    let mut log_prob = [0.0];
    sampler.log_prob(&[0.0; 3], &[f64::NAN, 0.0], &mut scratch, &mut log_prob).unwrap();
    assert!(log_prob[0].is_nan());
}

/// A model's weights with one change, and what reading them says.
fn refusal(change: impl FnOnce(&mut Arrays)) -> String {
    let model = PublishedModel::random(3, 2, 2, 6, 1);
    let mut arrays = Arrays::from_plain_bytes(WEIGHTS, &model.to_safetensors()).unwrap();
    change(&mut arrays);
    let json = serde_json::to_string(&model.card).unwrap();
    PublishedModel::from_files(&json, &arrays.to_plain_bytes()).unwrap_err().to_string()
}

#[test]
fn damaged_weights_are_named() {
    let has = |text: String, words: &[&str]| {
        for word in [&["model.safetensors"], words].concat() {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
    };
    let bias = "t3.blocks.0.linear.bias";
    has(refusal(|a| a.put_f32("t9.extra", vec![1], &[0.0])), &["missing", "t5.blocks.0"]);
    has(refusal(|a| a.put_f32("extra", vec![1], &[0.0])), &["unknown", "`extra`"]);
    has(refusal(|a| a.put_f32(bias, vec![5], &[0.0; 5])), &[bias, "[5]", "[6]"]);
    has(refusal(|a| a.put_f32(bias, vec![6], &[f32::NAN; 6])), &[bias, "not finite"]);
    has(refusal(|a| a.put_f64(bias, vec![6], &[0.0; 6])), &[bias, "F64"]);
    has(refusal(|a| drop(a.take_f32("", bias, &[6]).unwrap())), &["missing", bias]);
    has(refusal(|a| a.put_i64("t2._permutation", vec![3], &[0, 1, 1])), &["t2._permutation"]);
    has(refusal(|a| a.put_i64("t2._permutation", vec![3], &[0, 1, 3])), &["t2._permutation", "3"]);
    has(
        refusal(|a| a.put_f32("t1.final_layer.mask", vec![6, 6], &[1.0; 36])),
        &["t1.final_layer.mask", "[0, 0]"],
    );
    has(
        refusal(|a| a.put_i64("t1.final_layer.degrees", vec![6], &[1, 2, 3, 1, 2, 3])),
        &["t1.final_layer.degrees"],
    );
    has(
        refusal(|a| a.put_i64("t1.initial_layer.degrees", vec![6], &[1, 2, 1, 2, 1, -1])),
        &["t1.initial_layer.degrees", "-1"],
    );
    has(refusal(|a| a.put_f32("t0._scale", vec![3], &[1.0, 0.0, 1.0])), &["t0._scale"]);
    has(refusal(|a| a.put_f32("_embedding_net.0._std", vec![2], &[1.0, 0.0])), &["_std"]);
    has(refusal(|a| a.put_f32("_embedding_net.0._mean", vec![1], &[1.0])), &["_std"]);
    has(refusal(|a| a.put_f32("t99999999.x", vec![1], &[0.0])), &["blocks"]);
    let empty = |a: &mut Arrays| a.put_f32("t1.initial_layer.weight", vec![0, 3], &[]);
    has(refusal(empty), &["t1.initial_layer.weight", "[0, 3]"]);
}

#[test]
fn damaged_files_are_named() {
    let model = PublishedModel::random(3, 2, 2, 6, 1);
    let (json, bytes) = (model.to_json(None), model.to_safetensors());
    let refused =
        |json: &str, bytes: &[u8]| PublishedModel::from_files(json, bytes).unwrap_err().to_string();
    let plain = serde_json::to_string(&model.card).unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        assert!(refused(&plain, &bytes[..cut]).contains("model.safetensors"), "{cut}");
    }
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(refused(&json, &other).contains("SHA-256"));
    assert!(refused("{", &bytes).contains("model.json"));
    assert!(refused(&plain.replace("theta_1", "theta_0"), &bytes).contains("`theta`"));
    assert!(refused(&plain.replace("-100.0,", ""), &bytes).contains("box_prior_low"));
    assert!(refused(&plain.replace("\"made\"", "\"maid\""), &bytes).contains("maid"));
}

#[test]
fn vectors_are_checked() {
    let (d, c) = (3, 2);
    let model = PublishedModel::random(d, c, 2, 6, 1);
    let (pixels, draws) = (2, 5);
    let vectors = Vectors::of(&model, pixels, draws, 1).unwrap();
    let (mut theta, log_prob) = (vectors.theta.clone(), vectors.log_prob_true_theta.clone());
    let bytes = vectors.to_safetensors();
    let mut arrays = Arrays::from_plain_bytes(VECTORS, &bytes).unwrap();
    let check = |bytes: &[u8]| Vectors::from_bytes(bytes, &model).unwrap().check(&model).unwrap();
    let fine = check(&bytes);
    assert!(fine.beyond().is_empty(), "{fine}");

    theta[4] += 0.01;
    arrays.put_f32("theta", vec![pixels, draws, d], &theta);
    assert_eq!(check(&arrays.to_plain_bytes()).beyond(), ["theta_1"]);
    arrays.put_f32("log_prob_true_theta", vec![pixels], &[log_prob[0], log_prob[1] + 0.002]);
    assert_eq!(check(&arrays.to_plain_bytes()).beyond(), ["theta_1", "log_prob"]);

    let digested = model.to_json(Some(&bytes));
    let digested = PublishedModel::from_files(&digested, &model.to_safetensors()).unwrap();
    digested.check_vectors_digest(&bytes).unwrap();
    let other = digested.check_vectors_digest(&arrays.to_plain_bytes()).unwrap_err();
    assert!(other.to_string().contains("vectors.safetensors"), "{other}");

    let refused = |bytes: &[u8], model: &PublishedModel| {
        let text = Vectors::from_bytes(bytes, model).unwrap_err().to_string();
        assert!(text.contains("vectors.safetensors"), "{text}");
        text
    };
    assert!(refused(&bytes[..bytes.len() - 1], &model).contains("not a whole"));
    let wider = PublishedModel::random(4, c, 1, 6, 1);
    assert!(refused(&bytes, &wider).contains("`base_noise`"));
    let blinder = PublishedModel::random(d, 5, 1, 6, 1);
    assert!(refused(&bytes, &blinder).contains("`context`"));
    arrays.put_f32("true_theta", vec![pixels, d], &[f32::INFINITY; 6]);
    assert!(refused(&arrays.to_plain_bytes(), &model).contains("`true_theta`"));
}

/// The paper's public network, 5 x 128: what sbi computed from the same noise.
#[test]
fn the_papers_public_network_gives_sbis_draws() {
    let shared = std::env::var_os("OUTSHINE_REFERENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"),
        PathBuf::from,
    );
    let folder = shared.join("sbipix_maf");
    if !folder.is_dir() {
        println!("SKIPPED: no {} (set OUTSHINE_REFERENCE)", folder.display());
        return;
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let json = String::from_utf8(read(CARD)).unwrap();
    let model = PublishedModel::from_files(&json, &read(WEIGHTS)).unwrap();
    assert_eq!(
        (model.blocks(), model.hidden(), model.dims(), model.context_len()),
        (5, 128, 7, 39)
    );
    let vectors = Vectors::from_bytes(&read(VECTORS), &model).unwrap();
    let deviations = vectors.check(&model).unwrap();
    println!("{deviations}");
    assert!(deviations.beyond().is_empty(), "{deviations}");

    // Of the deviation of ln p, what is ours: that from double precision.
    let sampler = Sampler::new(&model);
    let mut scratch = Scratch::default();
    let mut worst = 0.0f64;
    for (context, theta) in vectors.context.chunks(39).zip(vectors.true_theta.chunks(7)) {
        let theta: Vec<f64> = theta.iter().map(|&x| f64::from(x)).collect();
        let exact = exact_log_prob(&model, context, &theta);
        let mut log_prob = [0.0];
        sampler.log_prob(context, &theta, &mut scratch, &mut log_prob).unwrap();
        worst = worst.max((log_prob[0] - exact).abs() / (exact.abs() / 10.0).max(1.0));
    }
    println!("log_prob {worst:.2e} from double precision");
    assert!(worst < TOLERANCE, "{worst}");
}
