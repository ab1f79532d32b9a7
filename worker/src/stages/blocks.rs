//! Sums over the pixels of one block, and their table.

use super::{StageError, table};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt32Array};
use arrow::datatypes::{Float64Type, UInt32Type};
use outshine_catalogue::correlated::correlated;
use outshine_catalogue::integrated::BandSum;
use outshine_catalogue::sums::DrawSum;
use outshine_kernels::scalar;
use outshine_store::Table;
use std::sync::Arc;

/// Quantities that are summed over pixels: the parameter whose power of ten
/// it is, and the column of the sum.
pub const SUMMED: [(&str, &str); 3] = [
    ("log_mass_stellar", "mass_stellar"),
    ("log_mass_formed", "mass_formed"),
    ("log_sfr_100", "sfr_100"),
];
/// How many of them, the first, are masses: they are summed in rising order as well.
pub const MASSES: usize = 2;
/// Quantities of which a galaxy has the mean over its pixels, weighted by the
/// mass formed: the parameter, and the column of the sum of mass times it.
pub const AVERAGED: [(&str, &str); 2] =
    [("mass_weighted_age_gyr", "mass_formed_age"), ("a_v", "mass_formed_a_v")];
/// How many of both.
pub const QUANTITIES: usize = SUMMED.len() + AVERAGED.len();
/// Place of the weight among [`SUMMED`].
pub const WEIGHT: usize = 1;

/// The parameters of [`SUMMED`] and [`AVERAGED`], in this order.
pub fn parameters() -> [&'static str; QUANTITIES] {
    std::array::from_fn(|i| entry(i).0)
}

fn entry(i: usize) -> (&'static str, &'static str) {
    if i < SUMMED.len() { SUMMED[i] } else { AVERAGED[i - SUMMED.len()] }
}

/// Sums over the fitted pixels of one block, or of a galaxy.
#[derive(Clone)]
pub struct Block {
    /// Its number in the field.
    pub block: u32,
    /// Its galaxy.
    pub galaxy_id: i64,
    /// Member pixels.
    pub available: u32,
    /// Fitted pixels.
    pub used: u32,
    /// Draw-by-draw sums of [`SUMMED`], and of the weight times [`AVERAGED`].
    pub sums: [DrawSum; QUANTITIES],
    /// Sums of the sorted draws of the first [`MASSES`] of [`SUMMED`].
    pub sorted: [DrawSum; MASSES],
    /// True sums, for mocks.
    pub truth: [Option<f64>; QUANTITIES],
    /// Photometric sums per band.
    pub bands: Vec<BandSum>,
}

impl Block {
    /// No pixels yet.
    pub fn new(block: u32, galaxy_id: i64, draws: usize, bands: usize) -> Self {
        Self {
            block,
            galaxy_id,
            available: 0,
            used: 0,
            sums: std::array::from_fn(|_| DrawSum::new(draws)),
            sorted: std::array::from_fn(|_| DrawSum::new(draws)),
            truth: [None; QUANTITIES],
            bands: vec![BandSum::default(); bands],
        }
    }

    /// Adds a fitted pixel; `draws` and `truth` are its values of [`parameters`];
    /// `sorting` is working memory.
    pub fn add_pixel(
        &mut self,
        draws: [&[f32]; QUANTITIES],
        flux: &[f32],
        err: &[f32],
        truth: Option<[f64; QUANTITIES]>,
        sorting: &mut Vec<f32>,
    ) {
        self.used += 1;
        for i in 0..SUMMED.len() {
            self.sums[i].add_pixel(draws[i]);
        }
        for i in SUMMED.len()..QUANTITIES {
            self.sums[i].add_weighted(draws[WEIGHT], draws[i]);
        }
        for (sum, draws) in self.sorted.iter_mut().zip(draws) {
            sum.add_sorted(draws, sorting);
        }
        if let Some(truth) = truth {
            for i in 0..SUMMED.len() {
                *self.truth[i].get_or_insert(0.0) += scalar::exp10(truth[i]);
            }
            for i in SUMMED.len()..QUANTITIES {
                *self.truth[i].get_or_insert(0.0) += scalar::exp10(truth[WEIGHT]) * truth[i];
            }
        }
        for (band, (&f, &e)) in self.bands.iter_mut().zip(flux.iter().zip(err)) {
            band.add_pixel(f, e);
        }
    }

    /// Adds a later block of the same galaxy.
    pub fn add_block(&mut self, other: &Self) {
        self.available += other.available;
        self.used += other.used;
        for i in 0..QUANTITIES {
            self.sums[i].add_block(other.sums[i].linear());
            if let Some(truth) = other.truth[i] {
                *self.truth[i].get_or_insert(0.0) += truth;
            }
        }
        for (sum, more) in self.sorted.iter_mut().zip(&other.sorted) {
            sum.add_block(more.linear());
        }
        for (band, more) in self.bands.iter_mut().zip(&other.bands) {
            band.add(more);
        }
    }

    /// Draws of quantity `i` of [`parameters`] of the whole: log10 of the sum, or
    /// the mean.
    pub fn draws(&self, i: usize) -> Vec<f64> {
        if i < SUMMED.len() { self.sums[i].log10() } else { self.sums[i].over(&self.sums[WEIGHT]) }
    }

    /// Draws of the mass `i` of the whole, log10, if errors of any two pixels have
    /// this correlation.
    pub fn correlated(&self, i: usize, correlation: f64) -> Vec<f64> {
        correlated(&self.sums[i].log10(), &self.sorted[i].log10(), correlation)
    }

    /// Its true value.
    pub fn true_value(&self, i: usize) -> Option<f64> {
        if i < SUMMED.len() {
            return self.truth[i].map(scalar::log10);
        }
        Some(self.truth[i]? / self.truth[WEIGHT]?)
    }
}

/// Columns of the table of blocks.
pub fn columns(blocks: &[Block], draws: usize) -> Result<Vec<ArrayRef>, StageError> {
    let count = |of: &dyn Fn(&Block) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(blocks.iter().map(of)))
    };
    let number = |of: &dyn Fn(&Block) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(blocks.iter().map(of)))
    };
    let mut columns: Vec<ArrayRef> = vec![
        count(&|b| b.block),
        Arc::new(Int64Array::from_iter_values(blocks.iter().map(|b| b.galaxy_id))),
        count(&|b| b.available),
        count(&|b| b.used),
    ];
    let list = |of: &dyn Fn(&Block) -> &DrawSum| {
        let values = blocks.iter().flat_map(|b| of(b).linear().iter().copied()).collect();
        table::list_f64(values, draws)
    };
    for i in 0..QUANTITIES {
        columns.push(list(&|b| &b.sums[i])?);
    }
    for i in 0..MASSES {
        columns.push(list(&|b| &b.sorted[i])?);
    }
    for i in 0..QUANTITIES {
        columns.push(Arc::new(Float64Array::from_iter(blocks.iter().map(|b| b.truth[i]))));
    }
    let bands = blocks.first().map_or(0, |b| b.bands.len());
    for i in 0..bands {
        columns.push(count(&|b| b.bands[i].observed));
    }
    for i in 0..bands {
        columns.push(number(&|b| b.bands[i].flux_njy));
        columns.push(number(&|b| b.bands[i].variance.sqrt()));
    }
    Ok(columns)
}

/// Blocks from their table.
pub fn read(table: &Table, bands: &[String]) -> Result<Vec<Block>, StageError> {
    let block = table.number::<UInt32Type>("block")?;
    let galaxy = table.int64("galaxy_id")?;
    let available = table.number::<UInt32Type>("pixels_available")?;
    let used = table.number::<UInt32Type>("pixels_used")?;
    let missing = |name: &str| StageError::Permanent(format!("blocks: no usable column `{name}`"));
    let lists = |name: &str| {
        let column = table.column(name)?;
        Ok::<_, StageError>(column.as_fixed_size_list_opt().ok_or_else(|| missing(name))?.clone())
    };
    let mut sums = Vec::new();
    let mut sorted = Vec::new();
    let mut truths = Vec::new();
    for (_, name) in &SUMMED[..MASSES] {
        sorted.push(lists(&format!("{name}_sorted"))?);
    }
    for i in 0..QUANTITIES {
        let name = entry(i).1;
        sums.push(lists(name)?);
        truths.push(table.float64(&format!("{name}_true"))?);
    }
    let mut photometry = Vec::new();
    for band in bands {
        photometry.push((
            table.number::<UInt32Type>(&format!("observed_{band}"))?,
            table.float64(&format!("flux_njy_{band}"))?,
            table.float64(&format!("err_njy_{band}"))?,
        ));
    }
    let mut blocks = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        let draws = sums[0].value_length() as usize;
        let mut one = Block::new(block.value(row), galaxy.value(row), draws, bands.len());
        one.available = available.value(row);
        one.used = used.value(row);
        for i in 0..QUANTITIES {
            let list = sums[i].value(row);
            let values =
                list.as_primitive_opt::<Float64Type>().ok_or_else(|| missing(entry(i).1))?;
            one.sums[i].add_block(values.values());
            one.truth[i] = (!truths[i].is_null(row)).then(|| truths[i].value(row));
        }
        for (sum, lists) in one.sorted.iter_mut().zip(&sorted) {
            let list = lists.value(row);
            let values = list.as_primitive_opt::<Float64Type>();
            sum.add_block(values.ok_or_else(|| missing("sorted masses"))?.values());
        }
        for (band, (observed, flux, err)) in one.bands.iter_mut().zip(&photometry) {
            band.observed = observed.value(row);
            band.flux_njy = flux.value(row);
            band.variance = err.value(row) * err.value(row);
        }
        blocks.push(one);
    }
    Ok(blocks)
}
