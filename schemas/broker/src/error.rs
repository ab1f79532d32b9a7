//! What can go wrong at the queue, cut by what the caller can do about it.

use thiserror::Error;

/// What a caller should do with a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same call may succeed later: wait and repeat it.
    Retry,
    /// The same call will fail again: something outside must be mended first.
    Permanent,
}

/// An error of the task queue. URLs in it never hold a password.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The queue's URL cannot be used.
    #[error(
        "queue URL `{url}`: {reason}; use `memory:`, `amqp://user:password@host:5672/vhost` or `amqps://...`"
    )]
    BadUrl {
        /// The URL as given, password removed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection could be made, or made again, in the time allowed.
    #[error(
        "cannot reach the message broker at {url} within {seconds:.0} s: {reason}; check that it runs, that host and port are right and that no firewall is between"
    )]
    Unreachable {
        /// The broker's URL, password removed.
        url: String,
        /// How long it was tried, in seconds.
        seconds: f64,
        /// The last failure.
        reason: String,
    },
    /// The broker turned the user away.
    #[error(
        "the message broker at {url} refuses access: {reason}; check user, password, virtual host and permissions"
    )]
    AccessRefused {
        /// The broker's URL, password removed.
        url: String,
        /// The broker's words.
        reason: String,
    },
    /// The queue was never declared, or has been deleted.
    #[error("queue `{queue}` does not exist; declare it first")]
    UnknownQueue {
        /// The queue's name.
        queue: String,
    },
    /// The queue exists with other settings than this version declares.
    #[error(
        "queue `{queue}` exists with other settings: {reason}; delete it on the broker, then start again"
    )]
    Mismatch {
        /// The queue's name.
        queue: String,
        /// The broker's words.
        reason: String,
    },
    /// The broker took a message and did not confirm that it keeps it.
    #[error("queue `{queue}`: the broker did not confirm a message: {reason}")]
    Unconfirmed {
        /// The queue's name.
        queue: String,
        /// What came instead of the confirm.
        reason: String,
    },
    /// The connection is gone and will not come back by itself.
    #[error("queue `{queue}`: consumer closed: {reason}")]
    Closed {
        /// The queue's name.
        queue: String,
        /// Why.
        reason: String,
    },
    /// Anything else that the broker or the protocol library reports.
    #[error("message broker at {url}: {reason}")]
    Protocol {
        /// The broker's URL, password removed.
        url: String,
        /// The library's words.
        reason: String,
        /// Whether a repeat may help.
        class: ErrorClass,
    },
}

impl BrokerError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Unconfirmed { .. } | Self::Closed { .. } => {
                ErrorClass::Retry
            }
            Self::BadUrl { .. }
            | Self::AccessRefused { .. }
            | Self::UnknownQueue { .. }
            | Self::Mismatch { .. } => ErrorClass::Permanent,
            Self::Protocol { class, .. } => *class,
        }
    }
}

/// `url` with the password, where there is one, replaced by `***`.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // The last `@` ends the user part, so that a stray one in a password hides too much
    // rather than too little.
    let Some((user, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    match user.split_once(':') {
        Some((name, _)) => format!("{scheme}://{name}:***@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_hidden() {
        assert_eq!(without_password("amqp://u:secret@h:5672/v"), "amqp://u:***@h:5672/v");
        assert_eq!(without_password("amqp://u:a@b@h/v"), "amqp://u:***@h/v");
        assert_eq!(without_password("amqp://u@h/v"), "amqp://u@h/v");
        assert_eq!(without_password("amqp://h:5672"), "amqp://h:5672");
        assert_eq!(without_password("memory:"), "memory:");
    }
}
