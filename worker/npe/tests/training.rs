//! Training is one deterministic sequence and learns what it should.
#![allow(missing_docs)]

mod common;

use common::{
    Linear, coordinates, draws, exact, exact_log_prob, small, small_maf, spans, target, train,
};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::diagnostics::{Case, Tolerance, Verdict, calibration_row};
use outshine_npe::{Examples, HELD_OUT, NpeError, Object, Sampler, TrainConfig, train_span};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[test]
fn neither_spans_nor_threads_change_a_byte() {
    let data = Linear { n: 900, seed: 3, dims: 2, missing: true };
    for config in [small(6), small_maf(6)] {
        let whole = spans(&config, &data, &[6], 1).to_bytes();
        assert_eq!(whole, spans(&config, &data, &[2, 2, 2], 1).to_bytes(), "three spans of two");
        assert_eq!(whole, spans(&config, &data, &[6], 2).to_bytes(), "two threads");
        assert_eq!(whole, spans(&config, &data, &[1, 5], 4).to_bytes(), "four threads, two spans");
        let other = TrainConfig { seed: 2, ..config };
        assert_ne!(whole, spans(&other, &data, &[6], 1).to_bytes(), "another seed");
    }
}

/// A set that is made as it goes is told of every epoch before it is asked.
#[test]
fn epochs_are_announced() {
    struct Made(Linear, std::sync::Mutex<Vec<u64>>);
    impl Examples for Made {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn begin(&self, epoch: u64, _: usize) -> Result<(), NpeError> {
            self.1.lock().unwrap().push(epoch);
            Ok(())
        }
        fn fill(&self, i: u64, e: u64, t: &mut [f64], f: &mut [f32], s: &mut [f32]) -> f64 {
            assert_eq!(self.1.lock().unwrap().last(), Some(&e));
            self.0.fill(i, e, t, f, s)
        }
    }
    let data = Made(Linear { n: 200, seed: 3, dims: 1, missing: false }, Vec::new().into());
    let go = |from| {
        let mut watch = |_: &_| ControlFlow::Continue(());
        train_span(&small(3), &target(1), &data, from, 2, 2, &mut watch).unwrap()
    };
    go(Some(go(None)));
    assert_eq!(*data.1.lock().unwrap(), [0, HELD_OUT, 0, 1, HELD_OUT, 2]);
}

#[test]
fn a_known_gaussian_posterior_is_recovered() {
    let data = Linear { n: 20_000, seed: 5, dims: 2, missing: false };
    let maf = TrainConfig { hidden: 32, batch: 128, learning_rate: 3e-3, ..small_maf(30) };
    for config in [small(12), maf] {
        recover(&config, &data);
    }
}

fn recover(config: &TrainConfig, data: &Linear) {
    let model = train(config, data, 2).model(BTreeMap::new());
    let sampler = Sampler::new(&model);
    let held = Linear { n: 400, seed: 6, dims: 2, missing: false };
    let (mut theta, mut flux, mut err) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    let (mut lost, mut cases) = (0.0, vec![Vec::new(), Vec::new()]);
    for index in 0..held.n {
        let redshift = held.fill(index, HELD_OUT, &mut theta, &mut flux, &mut err);
        let object = Object { flux: &flux, err: &err, redshift };
        lost += exact_log_prob(&flux, &theta) - sampler.log_prob(&object, &theta);
        let mut stream = Stream::new(1, Purpose::Draw, index, 0);
        let out = draws(&sampler, &object, &mut stream, 1000);
        for i in 0..2 {
            let column = &out[i * 1000..(i + 1) * 1000];
            cases[i].push(Case::new(theta[i], column, true, &mut stream));
        }
        // Posterior widths are 0.69 and 0.73 sd. 1000 draws know the mean to
        // 0.02 and the width to 0.016; the rest is room for the network. Objects
        // beyond 2 sd of the prior predictive are rare in training.
        if flux.iter().any(|f| (f - 30.0).abs() > 2.5) {
            continue;
        }
        let (mean, covariance) = exact(&flux);
        for i in 0..2 {
            let column = out[i * 1000..(i + 1) * 1000].iter();
            let u: Vec<f64> =
                column.map(|&v| coordinates(2).to_unbounded(i, f64::from(v)).0).collect();
            let m = u.iter().sum::<f64>() / 1000.0;
            let sd = (u.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / 1000.0).sqrt();
            assert!((m - mean[i]).abs() < 0.2, "mean {i} of {index}: {m} for {}", mean[i]);
            let exact_sd = covariance[i][i].sqrt();
            assert!((sd / exact_sd - 1.0).abs() < 0.2, "sd {i} of {index}: {sd} for {exact_sd}");
        }
    }
    // Nats lost against the exact posterior, on average.
    let lost = lost / held.n as f64;
    assert!(lost.abs() < 0.03, "{lost} nat from the exact posterior");
    let rows: Vec<_> =
        cases.iter().map(|c| ("pixel", calibration_row("theta", c.iter().copied()))).collect();
    let verdict = Verdict::of(rows.iter().map(|(p, r)| (*p, r)), &Tolerance::default());
    assert!(verdict.passed, "{:?}", verdict.reasons);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let data = Linear { n: 200, seed: 3, dims: 2, missing: true };
    let checkpoint = train(&small(1), &data, 1);
    let go = |config: &TrainConfig, data: &Linear| {
        let from = Some(checkpoint.clone());
        let mut watch = |_: &_| ControlFlow::Continue(());
        train_span(config, &target(2), data, from, 1, 1, &mut watch).map(|_| ())
    };
    let mismatch = |r| matches!(r, Err(NpeError::CheckpointMismatch { .. }));
    assert!(mismatch(go(&small(2), &data)));
    assert!(mismatch(go(&small(1), &Linear { n: 201, ..data })));
    assert!(go(&small(1), &Linear { n: 200, seed: 3, dims: 2, missing: true }).is_ok());
}

#[test]
fn patience_ends_training_and_the_best_weights_are_kept() {
    // 60 examples, no new noise: the flow overfits within a few epochs.
    struct Frozen(Linear);
    impl Examples for Frozen {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn fill(&self, i: u64, _: u64, t: &mut [f64], f: &mut [f32], e: &mut [f32]) -> f64 {
            self.0.fill(i, 0, t, f, e)
        }
    }
    let data = Frozen(Linear { n: 60, seed: 3, dims: 2, missing: false });
    let config = TrainConfig { patience: 4, learning_rate: 1e-2, ..small(300) };
    let mut seen = Vec::new();
    let checkpoint = train_span(&config, &target(2), &data, None, 300, 2, &mut |p| {
        seen.push(p.validation_loss);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(checkpoint.finished());
    assert!(checkpoint.epoch() < 300);
    assert_eq!(checkpoint.epoch(), checkpoint.best_epoch() + 4);
    let lowest = seen.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(checkpoint.best_validation_loss(), lowest);
    // The model holds the best weights, not the last: its own validation loss
    // differs from what training went on to.
    assert!(seen.last().unwrap() > &lowest);
}

#[test]
fn watching_can_stop_a_span() {
    let data = Linear { n: 200, seed: 3, dims: 1, missing: false };
    let config = small(50);
    let mut watch = |p: &outshine_npe::Progress| {
        if p.epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = train_span(&config, &target(1), &data, None, 50, 1, &mut watch).unwrap();
    assert_eq!(stopped.epoch(), 3);
    assert!(!stopped.finished());
}

#[test]
fn bad_examples_and_settings_are_refused() {
    type Spoil = fn(&mut [f64], &mut [f32], &mut [f32]) -> f64;
    struct Bad(Spoil);
    impl Examples for Bad {
        fn len(&self) -> u64 {
            100
        }
        fn fill(&self, _: u64, _: u64, t: &mut [f64], f: &mut [f32], e: &mut [f32]) -> f64 {
            t.fill(0.0);
            f.fill(1.0);
            e.fill(1.0);
            (self.0)(t, f, e)
        }
    }
    let go = |data: &dyn Examples, config: &TrainConfig| {
        let mut watch = |_: &_| ControlFlow::Continue(());
        train_span(config, &target(2), data, None, 1, 2, &mut watch).map(|_| ())
    };
    let bad: [Spoil; 4] = [
        |t, _, _| {
            t[0] = 7.0;
            1.0
        },
        |_, f, _| {
            f[0] = f32::NAN;
            1.0
        },
        |_, _, e| {
            e[1] = f32::INFINITY;
            1.0
        },
        |_, _, _| f64::NAN,
    ];
    for data in bad {
        assert!(matches!(go(&Bad(data), &small(1)), Err(NpeError::Example { .. })));
    }
    let few = Linear { n: 5, seed: 1, dims: 2, missing: false };
    assert!(matches!(go(&few, &small(1)), Err(NpeError::TooFewExamples { .. })));
    let fine = Linear { n: 100, ..few };
    let narrow = TrainConfig { hidden: 1, ..small_maf(1) };
    assert!(matches!(go(&fine, &narrow), Err(NpeError::Config { field: "hidden", .. })));
}

#[test]
fn a_diverging_run_says_so() {
    let data = Linear { n: 400, seed: 3, dims: 2, missing: false };
    let config = TrainConfig { learning_rate: 0.1, gradient_clip: 1e30, batch: 8, ..small(40) };
    let mut watch = |_: &_| ControlFlow::Continue(());
    let end = train_span(&config, &target(2), &data, None, 40, 1, &mut watch);
    // Whatever it does, it ends in an error that names the epoch or in finite weights.
    match end {
        Err(NpeError::NonFiniteLoss { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(checkpoint) => {
            let bytes = checkpoint.to_bytes();
            assert!(outshine_npe::Checkpoint::from_bytes(&bytes).is_ok());
        }
    }
}
