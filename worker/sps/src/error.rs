//! What can go wrong, cut by what the caller can do about it.

/// Error of the forward model, its libraries and its observation model.
#[derive(Debug, thiserror::Error)]
pub enum SpsError {
    /// A library or a FITS grid cannot be read: mend or replace the file.
    #[error("{what} cannot be read: {problem}")]
    Format {
        /// Which input.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be opened.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The binary was built without the data it is asked for.
    #[error("this build embeds no SSP library (feature `bc03` is off): give one by file")]
    NoEmbeddedLibrary,
    /// A band that no filter set or noise model holds.
    #[error("unknown band `{band}`; known bands: {known}")]
    UnknownBand {
        /// The band asked for.
        band: String,
        /// What there is.
        known: String,
    },
    /// One parameter outside what can be computed.
    #[error("{name} = {value} is outside {low} to {high}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Lowest value that can be computed.
        low: f64,
        /// Highest value that can be computed.
        high: f64,
    },
    /// A setting that cannot hold.
    #[error("setting `{field}`: {problem}")]
    Setting {
        /// The setting.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Too little data to fit a noise model.
    #[error("noise of band {band} cannot be fitted: {problem}")]
    NoiseFit {
        /// The band.
        band: String,
        /// What is missing.
        problem: String,
    },
}

impl SpsError {
    pub(crate) fn format(what: &str, problem: impl Into<String>) -> Self {
        Self::Format { what: what.to_owned(), problem: problem.into() }
    }

    pub(crate) fn setting(field: &str, problem: impl Into<String>) -> Self {
        Self::Setting { field: field.to_owned(), problem: problem.into() }
    }
}
