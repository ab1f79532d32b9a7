//! The sampler and the density are one distribution, inside the box, and the
//! same as candle's.
#![allow(missing_docs)]

mod common;

use common::{Linear, coordinates, small, train};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Checkpoint, Model, NpeError, Sampler, Scratch};
use std::collections::BTreeMap;

fn model(dims: usize) -> Model {
    let data = Linear { n: 2000, seed: 3, dims, missing: true };
    train(&small(4), &data, 2).model(BTreeMap::from([("prior".into(), "normal".into())]))
}

const FLUX: [f32; 2] = [30.7, 28.9];
const ERR: [f32; 2] = [1.0, 1.0];

#[test]
fn the_density_integrates_to_one() {
    // Trapezoid rule in the unbounded coordinates out to 5.5 sd of the prior
    // (beyond which the box keeps 4e-8 of it).
    let steps = 220;
    let node = |k: usize| -5.5 + 11.0 * k as f64 / steps as f64;
    let h = 11.0 / steps as f64;

    let sampler = Sampler::new(&model(1));
    let c = coordinates(1);
    let mut sum = 0.0;
    for k in 0..=steps {
        let v = c.to_box(0, node(k));
        let slope = c.to_unbounded(0, v).1;
        sum += h * (sampler.log_prob(&FLUX, &ERR, 1.5, &[v]) - slope).exp();
    }
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");

    let sampler = Sampler::new(&model(2));
    let c = coordinates(2);
    let mut sum = 0.0;
    for j in 0..=steps {
        for k in 0..=steps {
            let v = [c.to_box(0, node(j)), c.to_box(1, node(k))];
            let slope = c.to_unbounded(0, v[0]).1 + c.to_unbounded(1, v[1]).1;
            sum += h * h * (sampler.log_prob(&FLUX, &ERR, 1.5, &v) - slope).exp();
        }
    }
    assert!((sum - 1.0).abs() < 3e-3, "{sum}");
}

#[test]
fn draws_follow_the_density() {
    // Mean of ln p over draws is minus the entropy, which the trapezoid rule
    // gives from the density alone.
    let sampler = Sampler::new(&model(2));
    let c = coordinates(2);
    let (mut entropy, h) = (0.0, 11.0 / 200.0);
    for j in 0..=200 {
        for k in 0..=200 {
            let v = [c.to_box(0, -5.5 + h * f64::from(j)), c.to_box(1, -5.5 + h * f64::from(k))];
            let log_p = sampler.log_prob(&FLUX, &ERR, 1.5, &v);
            let slope = c.to_unbounded(0, v[0]).1 + c.to_unbounded(1, v[1]).1;
            entropy -= h * h * (log_p - slope).exp() * log_p;
        }
    }
    let n = 4000;
    let mut draws = vec![0.0; n * 2];
    let mut stream = Stream::new(4, Purpose::Draw, 0, 0);
    let mut scratch = Scratch::default();
    sampler.draw(&FLUX, &ERR, 1.5, &mut stream, n, &mut scratch, &mut draws).unwrap();
    let log_p: Vec<f64> =
        draws.chunks_exact(2).map(|t| sampler.log_prob(&FLUX, &ERR, 1.5, t)).collect();
    let mean = log_p.iter().sum::<f64>() / n as f64;
    let variance = log_p.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
    // Five standard errors.
    let limit = 5.0 * (variance / n as f64).sqrt();
    assert!((mean + entropy).abs() < limit, "{mean} for {}", -entropy);
}

#[test]
fn every_draw_is_in_the_box_and_does_not_depend_on_its_company() {
    let sampler = Sampler::new(&model(2));
    let mut scratch = Scratch::default();
    for (flux, err) in [
        (FLUX, ERR),
        ([1e9, -1e9], [1.0, 1e-3]),
        ([0.0, 0.0], [1e-20, 0.0]),
        ([f32::MAX, 1.0], [1e-30, f32::MAX]),
        ([1e-30, f32::NAN], [1e30, f32::NAN]),
    ] {
        let draw = |n: usize, scratch: &mut Scratch| {
            let mut out = vec![f64::NAN; n * 2];
            let mut stream = Stream::new(4, Purpose::Draw, 1, 2);
            sampler.draw(&flux, &err, 1.5, &mut stream, n, scratch, &mut out).unwrap();
            out
        };
        let many = draw(333, &mut scratch);
        assert!(many.chunks_exact(2).all(|t| coordinates(2).contains(t)), "{flux:?} {err:?}");
        assert_eq!(draw(5, &mut Scratch::default()), many[..10]);
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let sampler = Sampler::new(&model(1));
    let mut out = [0.0; 3];
    let mut refused = |flux: &[f32], err: &[f32], z: f64, n: usize| {
        let mut stream = Stream::new(4, Purpose::Draw, 1, 2);
        sampler.draw(flux, err, z, &mut stream, n, &mut Scratch::default(), &mut out).err()
    };
    assert!(refused(&FLUX, &ERR, 1.5, 3).is_none());
    assert!(matches!(refused(&[f32::NAN, 1.0], &ERR, 1.5, 3), Some(NpeError::Pixel { .. })));
    assert!(matches!(refused(&FLUX, &[f32::INFINITY, 1.0], 1.5, 3), Some(NpeError::Pixel { .. })));
    assert!(matches!(refused(&FLUX, &[0.0, f32::NAN], 1.5, 3), Some(NpeError::Pixel { .. })));
    assert!(matches!(refused(&FLUX, &ERR, f64::NAN, 3), Some(NpeError::Pixel { .. })));
    assert!(matches!(refused(&FLUX[..1], &ERR, 1.5, 3), Some(NpeError::Length { .. })));
    assert!(matches!(refused(&FLUX, &ERR, 1.5, 4), Some(NpeError::Length { .. })));
    assert!(sampler.log_prob(&[f32::NAN, 1.0], &ERR, 1.5, &[0.0]).is_nan());
    assert_eq!(sampler.log_prob(&FLUX, &ERR, 1.5, &[1.5]), f64::NEG_INFINITY);
}

#[test]
fn a_model_survives_storage_and_damage_is_noticed() {
    let model = model(2);
    let (json, weights) = (model.to_json(), model.to_safetensors());
    let back = Model::from_parts(&json, &weights).unwrap();
    assert_eq!(back, model);
    assert_eq!(back.to_json(), json);
    assert_eq!(back.provenance()["prior"], "normal");

    let unreadable = |json: &str, weights: &[u8]| {
        matches!(Model::from_parts(json, weights), Err(NpeError::Unreadable { .. }))
    };
    for cut in [0, 7, 100, weights.len() / 2, weights.len() - 1] {
        assert!(unreadable(&json, &weights[..cut]), "cut at {cut}");
    }
    let mut flipped = weights.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(unreadable(&json, &flipped));
    assert!(unreadable(&json[..json.len() / 2], &weights));
    assert!(unreadable(&json.replacen("\"version\": 1", "\"version\": 9", 1), &weights));
    assert!(unreadable("{}", &weights));
}

#[test]
fn a_damaged_checkpoint_is_noticed() {
    let data = Linear { n: 200, seed: 3, dims: 2, missing: true };
    let bytes = train(&small(1), &data, 1).to_bytes();
    assert!(Checkpoint::from_bytes(&bytes).is_ok());
    for cut in [0, 9, bytes.len() / 3, bytes.len() - 1] {
        let end = Checkpoint::from_bytes(&bytes[..cut]);
        assert!(matches!(end, Err(NpeError::Unreadable { .. })), "cut at {cut}");
    }
    for at in [20, bytes.len() / 2, bytes.len() - 3] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert!(Checkpoint::from_bytes(&flipped).is_err(), "flipped at {at}");
    }
}
