//! Tilted densities and the fit of their strengths.

use super::{CENTRE, Frame, LOWER, PROBES, Rate, Recalibration, UPPER, recalibrated};
use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::examples::Examples;
use crate::features::signal_to_noise;
use crate::model::Model;
use crate::sampler::{Object, Sampler, Scratch};
use crate::storage::sha256_hex;
use crate::tests::{coupling, draws, random_model};
use outshine_kernels::random::{Purpose, Stream};

const DIMS: usize = 3;

/// One whose draws keep away from the edges of the box.
fn model() -> Model {
    let mut model = random_model(|c| coupling(DIMS, c, 3, 20), false);
    let density = &mut model.densities[0];
    density.weights.iter_mut().flatten().for_each(|w| *w *= 0.2);
    let own = &mut density.standardisation;
    own.weight.fill(0.0);
    let row = own.weight.len() / DIMS;
    own.weight.chunks_exact_mut(row).for_each(|row| row[row.len() - 1] = 0.5);
    own.spread.fill(0.2);
    model
}

/// A model tilted by one strength in every quantity beyond the first node.
pub(crate) fn tilted(mut model: Model, strength: f64) -> Model {
    let mut own = Recalibration::none(model.coordinates(), 10.0, model.redshift_range());
    let (nodes, depth) = (own.nodes(), own.ln_one_plus_z.len());
    for (at, k) in own.strength.iter_mut().enumerate() {
        *k = if at % nodes < depth { 0.0 } else { strength };
    }
    model.recalibration = Some(own);
    model
}

/// Fluxes and errors at a mean S/N of about `snr`.
fn object(key: u64, snr: f64) -> ([f32; 4], [f32; 4]) {
    let mut s = Stream::new(5, Purpose::MockPixel, key, 0);
    (std::array::from_fn(|_| (snr * (1.0 + 0.2 * s.normal())) as f32), [1.0; 4])
}

/// The same model in the coordinates of a delayed history.
fn delayed() -> Model {
    let mut model = model();
    let names = ["log_mass_formed", "log_tau_gyr", "t_i_fraction"].map(str::to_owned).to_vec();
    let (low, high) = (vec![4.0, -2.0, 0.0], vec![12.0, 2.0, 1.0]);
    let coordinates = Coordinates::new(names, low, high).unwrap();
    model.densities[0].spec.coordinates = coordinates.clone();
    model.target.coordinates = coordinates;
    model
}

/// A model tilted by its rate alone.
fn tilted_by_rate(model: Model, strength: f64) -> Model {
    let mut model = tilted(model, strength);
    let own = model.recalibration.as_mut().unwrap();
    let coordinates = DIMS * own.nodes();
    own.strength[..coordinates].fill(0.0);
    model
}

/// Of more quantities than are sorted together.
#[test]
fn a_frame_holds_the_middle_and_the_width_of_every_quantity() {
    let mut stream = Stream::new(7, Purpose::Draw, 0, 0);
    let quantities = 19;
    let probes: Vec<f32> = (0..quantities * PROBES)
        .map(|i| ((i / PROBES) as f64 + (1 + i / PROBES) as f64 * stream.normal()) as f32)
        .collect();
    let frame = Frame::about(&probes, None);
    assert_eq!((frame.centre.len(), frame.inverse_width.len()), (quantities, quantities));
    for (i, row) in probes.chunks(PROBES).enumerate() {
        let mut sorted = row.to_vec();
        sorted.sort_by(f32::total_cmp);
        let mean = |at: [usize; 2]| 0.5 * (sorted[at[0]] + sorted[at[1]]);
        assert_eq!(frame.centre[i], mean(CENTRE), "{i}");
        assert_eq!(frame.inverse_width[i], 2.0 / (mean(UPPER) - mean(LOWER)), "{i}");
    }
}

/// Draws of the tilted model against those of the plain one, weighted; its
/// density against the plain one.
#[test]
fn draws_follow_the_tilted_density() {
    for strength in [0.8, -0.4] {
        follows(model(), tilted(model(), strength), DIMS);
        let tilted = tilted_by_rate(delayed(), strength);
        assert_eq!(tilted.recalibration().unwrap().quantities(), DIMS + 1);
        follows(delayed(), tilted, DIMS + 1);
    }
}

fn follows(plain: Model, tilted: Model, quantities: usize) {
    let (plain, other) = (Sampler::new(&plain), Sampler::new(&tilted));
    let (flux, err) = object(1, 2000.0);
    let object = Object { flux: &flux, err: &err, redshift: 1.0 };
    let seen = other.see(&[object]).unwrap();
    let tilt = seen.tilt(0).expect("a bright object is tilted").clone();
    let rate = Rate::of(plain.coordinates()).map(|rate| rate.at(object.redshift));
    assert_eq!(tilt.frame.rate, rate, "the rate at the object's redshift");
    let n = 100_000;
    let (before, after) = (draws(&plain, &object, 1, n), draws(&other, &object, 1, n));
    let point = |sample: &[f32], k: usize| -> [f32; DIMS] {
        let u = |i: usize| plain.coordinates().to_unbounded(i, f64::from(sample[i * n + k])).0;
        std::array::from_fn(|i| u(i) as f32)
    };
    // Squares of t of draw `k`.
    let squares = |sample: &[f32], k: usize| -> Vec<f64> {
        let mut squares = vec![0.0; quantities];
        tilt.frame.deviates(&point(sample, k), 1, |i, t| squares[i] = f64::from(t[0]).powi(2));
        squares
    };
    let log_weight = |squares: &[f64]| -> f64 {
        let terms = squares.iter().zip(&tilt.strength).map(|(t2, k)| f64::from(*k) * t2.min(4.0));
        (-0.5 * terms.sum::<f64>() - f64::from(tilt.ceiling)).min(0.0)
    };
    let (mut total, mut means) = (0.0, vec![[0.0f64; 3]; quantities]);
    let mut cut = 0;
    for k in 0..n {
        let (was, is) = (squares(&before, k), squares(&after, k));
        let w = log_weight(&was).exp();
        total += w;
        cut += usize::from(w == 1.0);
        for (mean, (was, is)) in means.iter_mut().zip(was.into_iter().zip(is)) {
            let [was, is] = [was, is].map(|square| square.min(9.0));
            mean.iter_mut().zip([was, w * was, is]).for_each(|(sum, value)| *sum += value);
        }
    }
    // One weight in eight of 64 probes is cut: three standard errors.
    let cut = cut as f64 / n as f64;
    assert!((cut - 0.125).abs() < 0.12, "{cut}");
    for ([plain, weighted, drawn], strength) in means.into_iter().zip(&tilt.strength) {
        let (plain, weighted, drawn) = (plain / n as f64, weighted / total, drawn / n as f64);
        // Squares up to 9 scatter by less than 2: five standard errors of both.
        let error = 2.0 * (3.0 / n as f64).sqrt();
        assert!((weighted - drawn).abs() < 5.0 * error, "{strength}: {weighted} {drawn}");
        let moved = (plain - drawn) * f64::from(strength.signum());
        assert!(*strength == 0.0 || moved > 10.0 * error, "the tilt is one: {plain} {drawn}");
    }
    // 64 probes, whose weights scatter by about half their mean.
    let log_norm = (total / n as f64).ln();
    assert!((tilt.log_norm() - log_norm).abs() < 5.0 * 0.5 / 8.0, "{}", tilt.log_norm());
    for k in 0..20 {
        let theta: Vec<f64> = (0..DIMS).map(|i| f64::from(after[i * n + k])).collect();
        let own = log_weight(&squares(&after, k)) - tilt.log_norm();
        let expected = plain.log_prob(&object, &theta) + own;
        // Rounding of w.
        assert!((other.log_prob(&object, &theta) - expected).abs() < 1e-4, "draw {k}");
    }
}

/// Points of the density before the tilt: of bright objects, each of its own.
#[test]
fn untilted_points_are_of_the_plain_density() {
    let (plain, other) = (Sampler::new(&model()), Sampler::new(&tilted(model(), 0.8)));
    let fluxes = [object(1, 2000.0), object(4, 2500.0), object(2, 3.0)];
    let objects = fluxes.each_ref().map(|(flux, err)| Object { flux, err, redshift: 1.0 });
    let seen = other.see(&objects).unwrap();
    let points = |which: &dyn Fn(usize) -> usize| {
        let mut points = Vec::new();
        other.untilted(&seen, which, &mut points);
        points
    };
    assert!(points(&|_| 2).is_empty(), "a faint object's draws are not tilted");
    assert!(points(&|k| [0, 2][k % 2]).is_empty());
    let own = [points(&|_| 0), points(&|_| 1)];
    let mixed = points(&|k| k % 2);
    assert_ne!(own[0], own[1]);
    for (k, value) in mixed.iter().enumerate() {
        assert_eq!(*value, own[k % PROBES % 2][k]);
    }
    // Coordinates of a point belong together.
    let probes = other.probes(&seen, 0, &mut Scratch::default());
    for (at, (value, probe)) in own[0].iter().zip(probes).enumerate() {
        let u = other.coordinates().to_unbounded(at / PROBES, f64::from(*value)).0;
        assert!((u - f64::from(probe)).abs() < 1e-4, "{at}: {u} {probe}");
    }
    let n = 20_000;
    let many = draws(&plain, &objects[0], 3, n);
    for (few, many) in own[0].chunks_exact(PROBES).zip(many.chunks_exact(n)) {
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let spread = |values: &[f32]| {
            let square: f32 = values.iter().map(|v| (v - mean(values)).powi(2)).sum();
            (square / values.len() as f32).sqrt()
        };
        // Five standard errors of 64.
        assert!((mean(few) - mean(many)).abs() < 5.0 / 8.0 * spread(many));
        assert!((spread(few) / spread(many) - 1.0).abs() < 5.0 / 11.0);
    }
}

#[test]
fn faint_objects_are_left_as_they_are() {
    let (plain, other) = (Sampler::new(&model()), Sampler::new(&tilted(model(), 0.8)));
    for (snr, same) in [(3.0, true), (9.0, true), (500.0, false)] {
        let (flux, err) = object(2, snr / 1.02);
        assert!((signal_to_noise(&flux, &err) / snr - 1.0).abs() < 0.25);
        let object = Object { flux: &flux, err: &err, redshift: 2.0 };
        assert_eq!(draws(&plain, &object, 1, 50) == draws(&other, &object, 1, 50), same, "{snr}");
    }
}

/// A few draws are the first of many.
#[test]
fn how_many_are_drawn_does_not_matter() {
    let sampler = Sampler::new(&tilted(model(), 1.0));
    let (flux, err) = object(3, 3000.0);
    let object = Object { flux: &flux, err: &err, redshift: 2.0 };
    let (few, many) = (draws(&sampler, &object, 1, 37), draws(&sampler, &object, 1, 64));
    for i in 0..DIMS {
        assert_eq!(few[i * 37..(i + 1) * 37], many[i * 64..i * 64 + 37]);
    }
}

/// Objects whose true values are drawn from the model with its noise scaled.
struct Known {
    sampler: Sampler,
    n: u64,
}

impl Examples for Known {
    fn len(&self) -> u64 {
        self.n
    }

    fn fill(&self, i: u64, e: u64, theta: &mut [f64], flux: &mut [f32], err: &mut [f32]) -> f64 {
        let mut s = Stream::new(e, Purpose::Observation, i, 0);
        let redshift = s.uniform_in(2.0, 3.0);
        let (f, s_err) = object(i + 1_000_000 * (e % 1000), 10f64.powf(s.uniform_in(3.4, 4.2)));
        flux.copy_from_slice(&f);
        err.copy_from_slice(&s_err);
        let seen = self.sampler.see(&[Object { flux, err, redshift }]).unwrap();
        let mut out = [0.0; DIMS];
        self.sampler.draw(&seen, 0, &mut s, 1, &mut Scratch::default(), &mut out).unwrap();
        theta.iter_mut().zip(out).for_each(|(t, v)| *t = f64::from(v));
        redshift
    }
}

/// Deviation of the coverage of 68 % intervals, worst coordinate, above S/N 1000.
fn worst(model: &Model, data: &Known) -> f64 {
    let sampler = Sampler::new(model);
    let n = 200;
    let (mut inside, mut count) = ([0.0; DIMS], 0.0);
    let (mut theta, mut flux, mut err) = ([0.0; DIMS], [0.0; 4], [0.0; 4]);
    for i in 0..data.n {
        let redshift = data.fill(i, 77, &mut theta, &mut flux, &mut err);
        if signal_to_noise(&flux, &err) < 1000.0 {
            continue;
        }
        let out = draws(&sampler, &Object { flux: &flux, err: &err, redshift }, i, n);
        count += 1.0;
        for (k, inside) in inside.iter_mut().enumerate() {
            let below =
                out[k * n..(k + 1) * n].iter().filter(|v| f64::from(**v) < theta[k]).count();
            *inside += f64::from(u8::from((below as f64 / n as f64 - 0.5).abs() < 0.34));
        }
    }
    inside
        .map(|inside| inside / count - 0.68)
        .into_iter()
        .fold(0.0, |a, b| if b.abs() > f64::abs(a) { b } else { a })
}

#[test]
fn intervals_that_are_too_wide_or_narrow_are_mended() -> Result<(), NpeError> {
    let data =
        |scale: f32| Known { sampler: Sampler::new(&model()).with_base_scale(scale), n: 16_000 };
    let narrow = data(0.9);
    let before = worst(&model(), &narrow);
    let own = recalibrated(model(), &narrow, 1, 10.0, 1)?;
    let after = worst(&own, &narrow);
    // A standard error of 0.004; what is left is the doubt in favour of no tilt.
    assert!(before > 0.05, "{before}");
    assert!(after.abs() < 0.025, "{before} {after}");
    assert_eq!(own, recalibrated(model(), &narrow, 1, 10.0, 2)?, "threads change nothing");
    assert_eq!(own, recalibrated(own.clone(), &narrow, 1, 10.0, 2)?, "nor does an earlier tilt");

    let wide = data(1.1);
    let before = worst(&model(), &wide);
    let after = worst(&recalibrated(model(), &wide, 1, 10.0, 2)?, &wide);
    assert!(before < -0.03 && after.abs() < 0.6 * before.abs(), "{before} {after}");

    let none = recalibrated(model(), &data(1.0), 1, 10.0, 2)?;
    let strength = &none.recalibration().unwrap().strength;
    let mean = strength.iter().sum::<f64>() / strength.len() as f64;
    // Noise of nodes that hold a few hundred objects each.
    assert!(mean.abs() < 0.1, "{mean}");
    assert_eq!(recalibrated(own, &narrow, 0, 10.0, 1)?.recalibration(), None);
    Ok(())
}

#[test]
fn a_model_keeps_its_tilt_and_one_without_is_read() {
    let own = tilted(model(), 0.4);
    let (json, weights) = (own.to_json(), own.to_safetensors());
    assert_eq!(Model::from_parts(&json, &weights).unwrap(), own);

    // One of a delayed history without its rate keeps to the coordinates.
    let mut own = tilted(delayed(), 0.4);
    assert_eq!(Model::from_parts(&own.to_json(), &own.to_safetensors()).unwrap(), own);
    let kept = own.recalibration.as_mut().unwrap();
    kept.strength.truncate(DIMS * kept.nodes());
    kept.rate = None;
    assert_eq!(Model::from_parts(&own.to_json(), &own.to_safetensors()).unwrap(), own);

    let beyond = tilted(model(), 9.0);
    let error = Model::from_parts(&beyond.to_json(), &beyond.to_safetensors()).unwrap_err();
    assert!(error.to_string().contains("recalibration"), "{error}");

    // Version 2 is the same without recalibration; the checksum is of the arrays.
    let mut plain = model();
    plain.training.config.recalibration_passes = 0;
    let (from, to) = (br#"\"version\":3"#, br#"\"version\":2"#);
    let mut weights = plain.to_safetensors();
    let at = weights.windows(from.len()).position(|w| w == from).expect("a version");
    weights[at..at + from.len()].copy_from_slice(to);
    let json = plain.to_json().replace("\"version\": 3", "\"version\": 2");
    let json = json.replace(&sha256_hex(&plain.to_safetensors()), &sha256_hex(&weights));
    assert_eq!(Model::from_parts(&json, &weights).unwrap(), plain);
    let json = json.replacen("\"version\": 2", "\"version\": 1", 1);
    assert!(Model::from_parts(&json, &weights).unwrap_err().to_string().contains("version 1"));
}
