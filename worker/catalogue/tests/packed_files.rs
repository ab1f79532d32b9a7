//! Size of packed draws on disk, everything counted.

use arrow::array::{Array, RecordBatch};
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use outshine_catalogue::interval::Interval;
use outshine_catalogue::packing::{self, Packer};
use outshine_kernels::quantile::Selection;
use outshine_kernels::random::{Purpose, Stream};
use outshine_store::parquet;
use std::sync::Arc;

const DRAWS: usize = 500;
const BLOCK: usize = 256;
const NAMES: [&str; 9] = [
    "log_mass_formed",
    "log_tau_gyr",
    "t_i_fraction",
    "metallicity",
    "a_v",
    "log_mass_stellar",
    "log_sfr_100",
    "t_i_gyr",
    "mass_weighted_age_gyr",
];

/// Logistic squash of `x` into a box, as priors are.
fn boxed(x: f64, low: f64, high: f64) -> f64 {
    low + (high - low) / (1.0 + (-x).exp())
}

/// Draws of a pixel at `radius` (in effective radii) of a galaxy, one list per name.
///
/// Made as those of a mock field come out: a mass profile that falls by 1.5 dex over the galaxy
/// with a width of 0.08 dex in the bright centre and 0.3 in the outskirts; age, decay time and
/// metallicity hardly known, so that their posteriors fill and pile up at the edges of the prior's
/// box; dust near zero; the star-formation rate with a long tail towards none wherever decay is
/// fast; stellar mass, start in Gyr and mean age following from the others draw by draw.
fn pixel(radius: f64, stream: &mut Stream) -> [Vec<f32>; 9] {
    let width = 0.08 + 0.11 * radius;
    let mass = 8.6 - 0.75 * radius + 0.5 * width * stream.normal();
    let centres: [f64; 4] = std::array::from_fn(|_| 0.5 * stream.normal());
    let mut lists: [Vec<f32>; 9] = Default::default();
    for _ in 0..DRAWS {
        let z: [f64; 5] = std::array::from_fn(|_| stream.normal());
        let log_tau = boxed(0.8 + centres[0] + 1.6 * z[0], -1.5, 1.5);
        let fraction = boxed(centres[1] + 0.6 * z[0] + 1.1 * z[1], 0.0, 1.0);
        let metallicity = boxed(0.7 + centres[2] + z[2], -2.3, 0.4);
        let a_v = boxed(-2.2 + centres[3] + (0.5 + 0.2 * radius) * z[3], 0.0, 4.0);
        let start_gyr = 0.01 + 2.5 * fraction;
        let formed = mass + width * z[4] + 0.3 * (fraction - 0.5);
        let stellar = formed - 0.1 - 0.06 * (1.0 + start_gyr).ln() - 0.01 * z[2];
        let decays = start_gyr / 10f64.powf(log_tau);
        let rate =
            formed - 9.0 - start_gyr.log10() - 0.434 * decays.min(18.0) + (1.0 + decays).log10();
        let age = start_gyr * boxed(decays.ln(), 0.5, 1.0);
        let all = [formed, log_tau, fraction, metallicity, a_v, stellar, rate, start_gyr, age];
        for (list, value) in lists.iter_mut().zip(all) {
            list.push(value as f32);
        }
    }
    lists
}

/// Packs one block per galaxy as a fit does; returns the table, its row groups and the largest
/// distance of a stored draw from the drawn one in widths of the posterior.
fn packed(galaxies: u64) -> (RecordBatch, Vec<usize>, f64) {
    let mut columns: Vec<Vec<f32>> = vec![Vec::new(); NAMES.len()];
    let (mut ids, mut x, mut row_groups, mut farthest) =
        (Vec::new(), Vec::new(), Vec::new(), 0.0f64);
    let (mut packer, mut selection) = (Packer::default(), Selection::default());
    for galaxy in 0..galaxies {
        let mut stream = Stream::new(11, Purpose::Draw, galaxy, 0);
        let pixels: Vec<[Vec<f32>; 9]> =
            (0..BLOCK).map(|_| pixel(2.0 * stream.uniform().sqrt(), &mut stream)).collect();
        let medians: Vec<f64> =
            pixels.iter().map(|p| Interval::of_f32(&p[0], &mut selection).p50).collect();
        let order = packing::order(&medians);
        for group in packing::groups(order.len()) {
            row_groups.push(group.len());
            for (parameter, column) in columns.iter_mut().enumerate() {
                let members = order[group.clone()].iter().map(|&i| &pixels[i][parameter]);
                let widths: Vec<f64> = members.clone().map(|d| packing::sigma(d)).collect();
                let before: Vec<f32> = members.flatten().copied().collect();
                let start = column.len();
                column.extend_from_slice(&before);
                packer.pack(&mut column[start..], &widths).unwrap();
                for (k, (a, b)) in before.iter().zip(&column[start..]).enumerate() {
                    let distance = (f64::from(*a) - f64::from(*b)).abs() / widths[k / DRAWS];
                    farthest = farthest.max(distance);
                }
            }
        }
        ids.extend(std::iter::repeat_n(galaxy as i64, BLOCK));
        x.extend(order.iter().map(|&i| i as i32));
    }
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let lists = DataType::FixedSizeList(item.clone(), DRAWS as i32);
    let mut fields = vec![
        Field::new("galaxy_id", DataType::Int64, false),
        Field::new("x", DataType::Int32, false),
    ];
    let mut arrays: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids)), Arc::new(Int32Array::from(x))];
    for (name, column) in NAMES.iter().zip(columns) {
        fields.push(Field::new(*name, lists.clone(), false));
        let values = Arc::new(Float32Array::from(column));
        arrays.push(Arc::new(FixedSizeListArray::new(item.clone(), DRAWS as i32, values, None)));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    (batch, row_groups, farthest)
}

#[test]
fn packed_draws_take_a_quarter_of_single_precision() {
    let (batch, row_groups, farthest) = packed(2);
    assert!(farthest <= packing::TOLERANCE, "{farthest}");
    let encode = || {
        let batches = std::slice::from_ref(&batch);
        parquet::encode_shared(&batch.schema(), batches, &[], &row_groups).unwrap()
    };
    let bytes = encode();
    assert_eq!(bytes, encode());
    let values = batch.num_rows() * DRAWS * NAMES.len();
    let bits = 8.0 * bytes.len() as f64 / values as f64;
    println!("{bits:.3} bits per draw");
    assert!(bits <= 8.0, "{bits} bits per draw");

    let table = parquet::decode("packed", bytes, None).unwrap();
    for (name, stored) in NAMES.iter().zip(&batch.columns()[2..]) {
        let stored = stored.as_any().downcast_ref::<FixedSizeListArray>().unwrap();
        let stored = stored.values().as_any().downcast_ref::<Float32Array>().unwrap();
        let (read, width) = table.float32_lists(name).unwrap();
        assert!(width == DRAWS && read.as_slice() == stored.values().as_ref(), "{name}");
    }
}
