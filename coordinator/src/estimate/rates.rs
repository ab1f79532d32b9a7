//! What one member of each stage costs, as measured. The only numbers that
//! [`super`] does not count.
//!
//! All are seconds of one core of an AMD EPYC (family 26), from release builds
//! on two cores, of 19 bands and 500 draws: the commits of
//! `deploy/campaigns/mock-field.toml` (14,128 pixels), `jades-cutout.toml`
//! (668), `prior-field.toml` (calibrations of 4,000 to 200,000 simulations) and
//! `estimator-tau.toml` (200 epochs of 200,000), and the figures of
//! `worker/npe/README.md` and `worker/sps/README.md`. Another machine, or one
//! with neighbours, may take twice as long: a campaign's own commits, where
//! there are some, take their place.

/// What a task costs besides its members: reading, Parquet, the commit.
pub const TASK: f64 = 0.01;

/// A member pixel of stage field, per band: 0.48 s of two cores for 14,496.
pub const FIELD_BAND: f64 = 3.5e-6;

/// A simulation (5,000 in 0.10 to 0.13 s): the draw, and each band.
pub const SIMULATION: f64 = 7e-6;
/// See [`SIMULATION`].
pub const SIMULATION_BAND: f64 = 7e-7;

/// An example of an epoch of training, its simulation and noise included
/// (200,000 in 18 s of two cores, with 1.28 million weights): what does not
/// depend on the network, and each weight.
pub const EXAMPLE: f64 = 1.5e-5;
/// See [`EXAMPLE`].
pub const EXAMPLE_WEIGHT: f64 = 1.3e-10;

/// Calibration, per draw: the search for scarce strata and their objects
/// (4,000 simulations in 16 s of two cores), and each simulation (200,000 in
/// 279 s of two cores).
pub const CALIBRATION_DRAW: f64 = 0.036;
/// See [`CALIBRATION_DRAW`].
pub const CALIBRATED_DRAW: f64 = 5.4e-6;

/// A fitted pixel (14,128 in 4.0 to 5.4 s): the network and the look at whether
/// it is typical, and each draw of each parameter, its packing included.
pub const PIXEL: f64 = 5e-5;
/// See [`PIXEL`].
pub const PIXEL_DRAW: f64 = 5.5e-8;
/// A pixel whose redshift is not known, per redshift of its galaxy (668 in 1.6 s,
/// at 50 each).
pub const PIXEL_REDSHIFT: f64 = 4e-5;

/// An object whose posterior is refined, of the tau-delayed and of the Dirichlet
/// family, all of them taken to be bright enough (`worker/npe/README.md`).
pub const REFINED: [f64; 2] = [0.03, 2.4];

/// A galaxy of stage reduce (28 in 0.08 to 0.13 s).
pub const GALAXY: f64 = 4e-3;
/// A row of the catalogue.
pub const ROW: f64 = 1e-4;

/// Bytes of a stored draw: 8.1 bits (`worker/npe/README.md`).
pub const DRAW_BYTES: f64 = 1.02;
/// Bytes of other numbers in Parquet over their bytes in memory: fluxes and
/// errors of pixels and galaxies, truths, summaries; and simulations.
pub const PACKED: f64 = 0.68;
/// See [`PACKED`].
pub const SIMULATION_PACKED: f64 = 0.9;
/// What each column of a file costs besides its values.
pub const COLUMN_BYTES: f64 = 270.0;
/// The VOTable in a file that users take away: where the file comes from; and
/// what is said of each column.
pub const VOTABLE_BYTES: f64 = 3_400.0;
/// See [`VOTABLE_BYTES`].
pub const VOTABLE_COLUMN_BYTES: f64 = 195.0;
/// A commit record, without its files; and each file in it.
pub const COMMIT_BYTES: f64 = 450.0;
/// See [`COMMIT_BYTES`].
pub const FILE_RECORD_BYTES: f64 = 330.0;
/// Size of commit records in an index, of what they are by themselves: without
/// spaces and line ends.
pub const INDEXED: f64 = 0.75;
/// A shard in a stored plan.
pub const SHARD_BYTES: f64 = 55.0;
/// The tables of a calibration and what its commit says of limits.
pub const CALIBRATION_BYTES: f64 = 45_000.0;
/// Description of a model.
pub const DESCRIPTION_BYTES: f64 = 4_600.0;
/// An estimator that comes with the program (`worker/models`).
pub const SHIPPED_BYTES: f64 = 5_200_000.0;

/// Seconds between two looks of a coordinator at the store.
pub const POLL: f64 = 0.5;
