//! What can go wrong, cut by what the caller can do about it.

/// Errors of the posterior estimator.
#[derive(Debug, thiserror::Error)]
pub enum NpeError {
    /// A setting is outside what the estimator can do: mend the campaign.
    #[error("training setting `{field}` is {found}: {mend}")]
    Config {
        /// Name of the setting.
        field: &'static str,
        /// The value found.
        found: String,
        /// What would be accepted.
        mend: &'static str,
    },
    /// The prior box or the feature list is not usable.
    #[error("{what} of the estimator: {why}")]
    Specification {
        /// `coordinates` or `features`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A training example holds a value that cannot be learnt from.
    #[error("training example {index}: {why}")]
    Example {
        /// Index of the example.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The training set is too small to train and validate on.
    #[error("{found} training examples are too few: at least {needed} are needed")]
    TooFewExamples {
        /// How many there are.
        found: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The loss or its gradient stopped being a number.
    #[error(
        "the training loss became {loss} in epoch {epoch}, batch {batch}: lower the learning rate \
         or the gradient clip"
    )]
    NonFiniteLoss {
        /// Epoch, from 0.
        epoch: u32,
        /// Batch within the epoch, from 0.
        batch: u64,
        /// The loss found.
        loss: f64,
    },
    /// A checkpoint belongs to another training run.
    #[error("the checkpoint was made with another {what}: it cannot be continued with this one")]
    CheckpointMismatch {
        /// What differs.
        what: &'static str,
    },
    /// Stored bytes are truncated, corrupt or of an unknown version.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// `checkpoint` or `model`.
        what: &'static str,
        /// What is wrong with the bytes.
        why: String,
    },
    /// A pixel that the estimator refuses to fit.
    #[error("the pixel cannot be fitted: {why}")]
    Pixel {
        /// What is wrong with it.
        why: String,
    },
    /// An array has the wrong length.
    #[error("`{name}` has {found} values, {expected} were expected")]
    Length {
        /// Name of the argument.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length needed.
        expected: usize,
    },
    /// candle reported an error.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

/// Checks the length of an argument.
pub(crate) fn check_length(
    name: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), NpeError> {
    if found == expected {
        return Ok(());
    }
    Err(NpeError::Length { name, found, expected })
}
