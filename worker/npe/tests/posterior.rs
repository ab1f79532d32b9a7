//! The sampler and the density are one distribution, inside the box, and the
//! same as candle's.
#![allow(missing_docs)]

mod common;

use common::{Linear, coordinates, draws, small, small_maf, train};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Checkpoint, Model, NpeError, Object, Sampler, Scratch, TrainConfig};
use std::collections::BTreeMap;

fn model_of(config: &TrainConfig, dims: usize) -> Model {
    let data = Linear { n: 2000, seed: 3, dims, missing: true };
    train(config, &data, 2).model(BTreeMap::from([("prior".into(), "normal".into())]))
}

fn model(dims: usize) -> Model {
    model_of(&small(4), dims)
}

const FLUX: [f32; 2] = [30.7, 28.9];
const ERR: [f32; 2] = [1.0, 1.0];
const OBJECT: Object<'_> = Object { flux: &FLUX, err: &ERR, redshift: 1.5 };

#[test]
fn the_density_integrates_to_one() {
    // Trapezoid rule in the unbounded coordinates out to 5.5 sd of the prior
    // (beyond which the box keeps 4e-8 of it).
    let steps = 220;
    let node = |k: usize| -5.5 + 11.0 * k as f64 / steps as f64;
    let h = 11.0 / steps as f64;
    for config in [small(4), small_maf(4)] {
        let sampler = Sampler::new(&model_of(&config, 1));
        let c = coordinates(1);
        let mut sum = 0.0;
        for k in 0..=steps {
            let v = c.to_box(0, node(k));
            let slope = c.to_unbounded(0, v).1;
            sum += h * (sampler.log_prob(&OBJECT, &[v]) - slope).exp();
        }
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");

        let sampler = Sampler::new(&model_of(&config, 2));
        let c = coordinates(2);
        let mut sum = 0.0;
        for j in 0..=steps {
            for k in 0..=steps {
                let v = [c.to_box(0, node(j)), c.to_box(1, node(k))];
                let slope = c.to_unbounded(0, v[0]).1 + c.to_unbounded(1, v[1]).1;
                sum += h * h * (sampler.log_prob(&OBJECT, &v) - slope).exp();
            }
        }
        assert!((sum - 1.0).abs() < 3e-3, "{sum}");
    }
}

#[test]
fn draws_follow_the_density() {
    // Mean of ln p over draws is minus the entropy, and the moments of the
    // draws are those that the trapezoid rule gives from the density alone.
    for config in [small(4), small_maf(4)] {
        let sampler = Sampler::new(&model_of(&config, 2));
        let c = coordinates(2);
        let (mut entropy, h) = (0.0, 11.0 / 200.0);
        let mut moments = [0.0f64; 5];
        let of = |a: f64, b: f64| [a, b, a * a, b * b, a * b];
        for j in 0..=200 {
            for k in 0..=200 {
                let v =
                    [c.to_box(0, -5.5 + h * f64::from(j)), c.to_box(1, -5.5 + h * f64::from(k))];
                let log_p = sampler.log_prob(&OBJECT, &v);
                let slope = c.to_unbounded(0, v[0]).1 + c.to_unbounded(1, v[1]).1;
                let share = h * h * (log_p - slope).exp();
                entropy -= share * log_p;
                for (m, x) in moments.iter_mut().zip(of(v[0], v[1])) {
                    *m += share * x;
                }
            }
        }
        let n = 6000;
        let out = draws(&sampler, &OBJECT, &mut Stream::new(4, Purpose::Draw, 0, 0), n);
        let values = |k: usize| {
            let (a, b) = (f64::from(out[k]), f64::from(out[n + k]));
            let [x, y, xx, yy, xy] = of(a, b);
            [sampler.log_prob(&OBJECT, &[a, b]), x, y, xx, yy, xy]
        };
        let expected = [-entropy, moments[0], moments[1], moments[2], moments[3], moments[4]];
        for (i, expected) in expected.into_iter().enumerate() {
            let all: Vec<f64> = (0..n).map(|k| values(k)[i]).collect();
            let mean = all.iter().sum::<f64>() / n as f64;
            let variance = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
            // Five standard errors, and what the trapezoid rule leaves.
            let limit = 5.0 * (variance / n as f64).sqrt() + 2e-3 * expected.abs();
            assert!((mean - expected).abs() < limit, "{i}: {mean} for {expected}");
        }
    }
}

#[test]
fn every_draw_is_in_the_box_and_does_not_depend_on_its_company() {
    let awkward: [([f32; 2], [f32; 2]); 5] = [
        (FLUX, ERR),
        ([1e9, -1e9], [1.0, 1e-3]),
        ([0.0, 0.0], [1e-20, 0.0]),
        ([f32::MAX, 1.0], [1e-30, f32::MAX]),
        ([1e-30, f32::NAN], [1e30, f32::NAN]),
    ];
    for config in [small(4), small_maf(4)] {
        let sampler = Sampler::new(&model_of(&config, 2));
        let objects: Vec<Object<'_>> =
            awkward.iter().map(|(flux, err)| Object { flux, err, redshift: 1.5 }).collect();
        let together = sampler.see(&objects).unwrap();
        let mut scratch = Scratch::default();
        for (i, object) in objects.iter().enumerate() {
            let name = || Stream::new(4, Purpose::Draw, 1, 2);
            let many = draws(&sampler, object, &mut name(), 333);
            for k in 0..333 {
                let theta = [f64::from(many[k]), f64::from(many[333 + k])];
                assert!(coordinates(2).contains(&theta), "{object:?}");
            }
            let few = draws(&sampler, object, &mut name(), 5);
            assert_eq!(few[..5], many[..5]);
            assert_eq!(few[5..], many[333..338]);
            let mut out = vec![f32::NAN; 2 * 333];
            sampler.draw(&together, i, &mut name(), 333, &mut scratch, &mut out).unwrap();
            assert_eq!(out, many, "seen with others");
        }
    }
}

/// Draw k belongs to redshift floor(k m / n).
#[test]
fn draws_over_redshifts_are_those_at_each_of_them() {
    let sampler = Sampler::new(&model(2));
    let at = |redshift: f64| Object { redshift, ..OBJECT };
    let redshifts = [0.5, 1.5, 2.5];
    let seen = sampler.see(&redshifts.map(at)).unwrap();
    let (n, mut scratch) = (100, Scratch::default());
    let mut out = vec![f32::NAN; 2 * n];
    let mut stream = Stream::new(4, Purpose::Draw, 1, 2);
    sampler.draw_over(&seen, &mut stream, n, &mut scratch, &mut out).unwrap();
    assert!(out.iter().all(|v| v.is_finite()));
    // The words of draw k are the same as those of draw k at one redshift.
    for (m, redshift) in redshifts.into_iter().enumerate() {
        let all = draws(&sampler, &at(redshift), &mut Stream::new(4, Purpose::Draw, 1, 2), n);
        for k in 0..n {
            let own = k * redshifts.len() / n == m;
            assert_eq!(own, all[k] == out[k], "draw {k} at {redshift}");
        }
    }
}

#[test]
fn the_redshift_has_a_distribution_where_it_was_trained() {
    // Redshift is uniform from 1 to 2 and leaves no trace in the fluxes.
    let p = Sampler::new(&model_of(&small(12), 1)).redshift(&FLUX, &ERR).unwrap().unwrap();
    assert!(p.below(0.8) < 0.1 && p.below(2.2) > 0.9, "{} {}", p.below(0.8), p.below(2.2));
    assert!((p.quantile(0.5) - 1.5).abs() < 0.2, "{}", p.quantile(0.5));
    assert!(Sampler::new(&model_of(&small_maf(2), 1)).redshift(&FLUX, &ERR).unwrap().is_none());
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let sampler = Sampler::new(&model(1));
    let see = |flux: &[f32], err: &[f32], redshift: f64| {
        sampler.see(&[Object { flux, err, redshift }]).map(|_| ())
    };
    assert!(see(&FLUX, &ERR, 1.5).is_ok());
    let pixel = |r| matches!(r, Err(NpeError::Pixel { .. }));
    assert!(pixel(see(&[f32::NAN, 1.0], &ERR, 1.5)));
    assert!(pixel(see(&FLUX, &[f32::INFINITY, 1.0], 1.5)));
    assert!(pixel(see(&FLUX, &[0.0, f32::NAN], 1.5)));
    assert!(pixel(see(&FLUX, &ERR, f64::NAN)));
    assert!(pixel(sampler.redshift(&[f32::NAN, 1.0], &ERR).map(|_| ())));
    assert!(matches!(see(&FLUX[..1], &ERR, 1.5), Err(NpeError::Length { .. })));
    let seen = sampler.see(&[OBJECT]).unwrap();
    let (mut stream, mut out) = (Stream::new(4, Purpose::Draw, 1, 2), [0.0; 3]);
    let end = sampler.draw(&seen, 0, &mut stream, 4, &mut Scratch::default(), &mut out);
    assert!(matches!(end, Err(NpeError::Length { .. })));
    let nan = Object { flux: &[f32::NAN, 1.0], ..OBJECT };
    assert!(sampler.log_prob(&nan, &[0.0]).is_nan());
    assert_eq!(sampler.log_prob(&OBJECT, &[1.5]), f64::NEG_INFINITY);
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
    assert!(unreadable(&json.replacen("\"version\": 3", "\"version\": 9", 1), &weights));
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
