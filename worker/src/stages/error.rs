//! What can go wrong in a task, cut by what to do about it.

use outshine_store::StoreError;

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// It may pass: the store is away.
    Retry,
    /// It will not pass: keep the error beside the task and go on with others.
    Permanent,
    /// No task will work until somebody mends the store: the worker stops.
    Stop,
}

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The store did not answer, or what it holds is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table cannot be built or read.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The forward model or the noise model.
    #[error(transparent)]
    Sps(#[from] outshine_sps::SpsError),
    /// The posterior estimator.
    #[error(transparent)]
    Npe(#[from] outshine_npe::NpeError),
    /// The user's input cannot be used; names file, column and mend.
    #[error("{file}: {problem}")]
    Input {
        /// The file as the user named it.
        file: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The campaign cannot be used; names the section and key.
    #[error("campaign, section [{section}]: {problem}")]
    Campaign {
        /// The section.
        section: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Anything else that another try will not mend.
    #[error("{0}")]
    Permanent(String),
}

impl StageError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> RetryClass {
        match self {
            Self::Store(e) => match e.class() {
                outshine_store::ErrorClass::Retry => RetryClass::Retry,
                outshine_store::ErrorClass::Permanent => RetryClass::Permanent,
                outshine_store::ErrorClass::Stop => RetryClass::Stop,
            },
            _ => RetryClass::Permanent,
        }
    }

    /// The error with all its causes on one line.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }
}
