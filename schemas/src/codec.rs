//! Tasks as bytes: one version byte, then bincode. The only file that knows
//! bincode, so that another encoding is a change of this file.

use crate::task::Task;

/// First byte of every message.
pub const WIRE_VERSION: u8 = 1;

/// Why a message cannot be read. Never worth a retry: such a message belongs
/// to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// No bytes at all.
    #[error("the message is empty")]
    Empty,
    /// Written by another version of the software.
    #[error(
        "the message has wire version {found}, this software reads {WIRE_VERSION}: run workers and coordinator of one version"
    )]
    UnknownVersion {
        /// The version byte.
        found: u8,
    },
    /// The right version byte, then something else.
    #[error("the message is damaged: {0}")]
    Damaged(String),
}

/// Encodes a task.
///
/// # Errors
/// [`CodecError::Damaged`] if the task cannot be represented, which no task
/// made by this crate can cause.
pub fn encode(task: &Task) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![WIRE_VERSION];
    let body = bincode::serde::encode_to_vec(task, bincode::config::standard())
        .map_err(|e| CodecError::Damaged(e.to_string()))?;
    bytes.extend(body);
    Ok(bytes)
}

/// Decodes a task; every byte must belong to it.
///
/// # Errors
/// [`CodecError`], one case per way in which bytes can be wrong.
pub fn decode(bytes: &[u8]) -> Result<Task, CodecError> {
    let (&version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != WIRE_VERSION {
        return Err(CodecError::UnknownVersion { found: version });
    }
    // A limit, so that a damaged length cannot ask for all memory.
    let config = bincode::config::standard().with_limit::<65_536>();
    let (task, used): (Task, usize) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| CodecError::Damaged(e.to_string()))?;
    if used != body.len() {
        return Err(CodecError::Damaged(format!("{} bytes too many", body.len() - used)));
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ids::{CampaignId, TaskId};
    use crate::task::{Shard, Stage};

    fn sample() -> Task {
        let digest = Digest::of(b"campaign");
        let campaign = CampaignId::new("golden", &digest);
        let shard = Shard { start: 4096, end: 8192 };
        let inputs = Digest::of(b"inputs");
        // The id of format 1 and science 1: the wire knows nothing of later ones.
        let id = TaskId::of_versions(&digest, Stage::Fit, shard, &inputs, 1, 1);
        Task { id, ..Task::new(campaign, digest, Stage::Fit, shard, inputs) }
    }

    #[test]
    fn round_trip() {
        let task = sample();
        assert_eq!(decode(&encode(&task).unwrap()).unwrap(), task);
    }

    /// The bytes on the wire are a contract: a change needs a new version byte
    /// and a new folder of samples.
    #[test]
    fn golden_bytes_of_version_1() {
        let golden = include_bytes!("../testdata/v1/fit-task.bin");
        assert_eq!(encode(&sample()).unwrap(), golden);
        assert_eq!(decode(golden).unwrap(), sample());
    }

    #[test]
    fn damaged_messages_are_told_apart() {
        let good = encode(&sample()).unwrap();
        assert!(matches!(decode(&[]), Err(CodecError::Empty)));
        let mut other = good.clone();
        other[0] = 99;
        assert!(matches!(decode(&other), Err(CodecError::UnknownVersion { found: 99 })));
        assert!(matches!(decode(&good[..good.len() - 3]), Err(CodecError::Damaged(_))));
        let mut long = good.clone();
        long.push(0);
        assert!(matches!(decode(&long), Err(CodecError::Damaged(_))));
        // A length that claims the whole address space.
        assert!(matches!(
            decode(&[1, 0xfd, 255, 255, 255, 255, 255, 255, 255, 255]),
            Err(CodecError::Damaged(_))
        ));
    }
}
