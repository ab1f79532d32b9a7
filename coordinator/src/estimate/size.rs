//! Bytes that the tasks of a stage write, file by file.

use super::network::Network;
use super::rates::{
    CALIBRATION_BYTES, COLUMN_BYTES, COMMIT_BYTES, DESCRIPTION_BYTES, DRAW_BYTES,
    FILE_RECORD_BYTES, INDEXED, PACKED, SHARD_BYTES, SHIPPED_BYTES, SIMULATION_PACKED,
    VOTABLE_BYTES, VOTABLE_COLUMN_BYTES,
};
use arrow::datatypes::{DataType, Schema};
use outshine_schemas::campaign::{Campaign, KeepDraws};
use outshine_schemas::tables::{self, DIRICHLET_REPORTED, TAU_REPORTED};
use outshine_schemas::task::Stage;

/// Blocks per file of the field (`worker/src/stages/field`).
const CHUNK_BLOCKS: u64 = 64;
/// Parameters whose draws are kept with `fit.keep = "masses"`.
const MASSES: usize = 3;
/// Coordinates of simulations that are no fluxes: those of Dirichlet histories,
/// and of others.
const FREE: [usize; 2] = [7, 5];

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    /// Number of files, commit records apart.
    pub files: u64,
    /// Bytes of files, commit records, their indexes and the plan.
    pub bytes: f64,
}

impl Size {
    /// `files` tables of `rows` rows in all, whose numbers take `packed` of their
    /// size in memory.
    fn table(&mut self, schema: &Schema, rows: u64, files: u64, packed: f64) {
        self.files += files;
        self.bytes += rows as f64 * width(schema) * packed;
        self.bytes += (files * schema.fields().len() as u64) as f64 * COLUMN_BYTES;
    }

    /// As [`Size::table`], with a VOTable in each file.
    fn product(&mut self, schema: &Schema, rows: u64, files: u64) {
        self.table(schema, rows, files, PACKED);
        let each = VOTABLE_BYTES + schema.fields().len() as f64 * VOTABLE_COLUMN_BYTES;
        self.bytes += files as f64 * each;
    }

    fn files(&mut self, count: u64, each: f64) {
        self.files += count;
        self.bytes += count as f64 * each;
    }
}

/// Whether commits are indexed, as [`crate::stage_graph::has_indexes`] says of a plan.
pub fn is_indexed(stage: Stage, tasks: u64) -> bool {
    stage != Stage::Train && tasks > 1
}

/// Bytes of a row in memory; a list of draws has none here.
fn width(schema: &Schema) -> f64 {
    let of = |kind: &DataType| match kind {
        DataType::FixedSizeList(item, n) if *item.data_type() == DataType::Float64 => {
            8.0 * f64::from(*n)
        }
        DataType::FixedSizeList(..) => 0.0,
        kind => kind.primitive_width().unwrap_or(8) as f64,
    };
    schema.fields().iter().map(|field| of(field.data_type())).sum()
}

/// What the campaign reports of each pixel.
#[must_use]
pub fn reported(campaign: &Campaign) -> &'static [&'static str] {
    if is_dirichlet(campaign) { DIRICHLET_REPORTED } else { TAU_REPORTED }
}

/// Whether its histories are of the Dirichlet family.
pub fn is_dirichlet(campaign: &Campaign) -> bool {
    campaign.prior.get("sfh").and_then(serde_json::Value::as_str) == Some("dirichlet")
}

/// What a stage is made of.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The campaign.
    pub campaign: &'a Campaign,
    /// The network that it trains, if it does.
    pub network: Option<&'a Network>,
    /// What is fitted.
    pub counts: &'a super::Counts,
    /// Bytes of the files of an estimator that is not trained here.
    pub estimator: Option<u64>,
}

impl Made<'_> {
    /// What `tasks` tasks write that do all of a stage.
    #[must_use]
    pub fn size(&self, stage: Stage, tasks: u64) -> Size {
        let (campaign, counts) = (self.campaign, self.counts);
        let (bands, fit) = (&campaign.bands, &campaign.fit);
        let names = reported(campaign);
        let mock = campaign.field.mock.is_some();
        let chunks = counts.blocks.div_ceil(CHUNK_BLOCKS);
        let mut size = Size::default();
        match stage {
            Stage::Field => {
                size.table(&tables::field(bands), counts.pixels, chunks, PACKED);
                if mock {
                    size.table(&tables::truth(names), counts.pixels, chunks, PACKED);
                }
                size.table(&tables::galaxies(bands), counts.galaxies, 1, PACKED);
            }
            Stage::Simulate => {
                let free = &names[..FREE[usize::from(!is_dirichlet(campaign))]];
                let schema = tables::simulations(free, bands);
                let rows = if tasks > 0 { campaign.simulate.count } else { 0 };
                size.table(&schema, rows, tasks, SIMULATION_PACKED);
            }
            Stage::Train => match self.network {
                None => {
                    let weights = self.estimator.map_or(SHIPPED_BYTES, |bytes| bytes as f64);
                    size.files(2, weights / 2.0);
                }
                Some(network) => {
                    size.files(tasks, network.checkpoint_bytes() as f64);
                    size.files(1, 4.0 * network.weights() as f64);
                    size.files(1, DESCRIPTION_BYTES);
                }
            },
            Stage::Calibrate => size.files(2, CALIBRATION_BYTES / 2.0),
            Stage::Fit => {
                let draws = fit.draws as usize;
                size.table(&tables::blocks(bands, draws), counts.blocks, tasks, 1.0);
                let kept = match fit.keep {
                    KeepDraws::All => names,
                    KeepDraws::Masses => &names[..MASSES],
                    KeepDraws::None => &[],
                };
                if !kept.is_empty() {
                    size.product(&tables::samples(kept, draws), counts.fitted, tasks);
                    let values = counts.fitted * u64::from(fit.draws) * kept.len() as u64;
                    size.bytes += values as f64 * DRAW_BYTES;
                }
                let schema = tables::summaries(names, mock, fit.pixel_redshifts);
                size.product(&schema, counts.pixels, tasks);
            }
            Stage::Reduce => size.table(&tables::catalogue(), counts.galaxies, tasks, PACKED),
            Stage::Catalogue => {
                size.product(&tables::catalogue(), counts.galaxies, 1);
                if mock {
                    // Five quantities of galaxies two ways, and two masses a third way.
                    let rows = names.len() as u64 + 12;
                    size.table(&tables::validation(), rows, 1, PACKED);
                }
            }
        }
        let records = tasks as f64 * COMMIT_BYTES + size.files as f64 * FILE_RECORD_BYTES;
        size.bytes += records + tasks as f64 * SHARD_BYTES;
        if is_indexed(stage, tasks) {
            size.bytes += records * INDEXED;
        }
        size
    }
}
