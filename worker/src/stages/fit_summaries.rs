//! Summaries of pixels, in the making.

use arrow::array::{ArrayRef, Float32Builder};
use outshine_catalogue::interval::{Interval, rank};
use std::sync::Arc;

/// Columns of the summaries, in the making.
pub struct Summaries {
    width: usize,
    columns: Vec<Float32Builder>,
}

impl Summaries {
    /// None yet of `parameters`; `truth`: with a true value and its rank.
    pub fn new(parameters: usize, truth: bool) -> Self {
        let width = if truth { 5 } else { 3 };
        let columns = (0..parameters * width).map(|_| Float32Builder::new()).collect();
        Self { width, columns }
    }

    /// Adds a pixel that was not fitted.
    pub fn leave_out(&mut self) {
        self.columns.iter_mut().for_each(Float32Builder::append_null);
    }

    /// Adds parameter `p` of a fitted pixel.
    pub fn add(&mut self, p: usize, interval: Interval, draws: &[f32], truth: Option<f64>) {
        let columns = &mut self.columns[p * self.width..(p + 1) * self.width];
        columns[0].append_value(interval.p16 as f32);
        columns[1].append_value(interval.p50 as f32);
        columns[2].append_value(interval.p84 as f32);
        if let [_, _, _, value, place] = columns {
            value.append_option(truth.map(|t| t as f32));
            place.append_option(truth.map(|t| {
                let draws: Vec<f64> = draws.iter().map(|&v| f64::from(v)).collect();
                rank(&draws, t) as f32
            }));
        }
    }

    /// The columns.
    pub fn finish(mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect()
    }
}
