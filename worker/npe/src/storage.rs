//! Reading and writing of named arrays: safetensors with one JSON document and
//! a checksum in its metadata.

use crate::error::NpeError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// The only metadata entry; one, so that its order cannot vary.
const ENTRY: &str = "outshine";

/// Named arrays, in the order of their names.
#[derive(Default)]
pub(crate) struct Arrays {
    entries: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

#[derive(Serialize, serde::Deserialize)]
struct Envelope<T> {
    format: String,
    version: u32,
    sha256: String,
    content: T,
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Arrays {
    pub(crate) fn put_f32(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.entries.insert(name.into(), (Dtype::F32, shape, bytes));
    }

    pub(crate) fn put_f64(&mut self, name: &str, shape: Vec<usize>, values: &[f64]) {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.entries.insert(name.into(), (Dtype::F64, shape, bytes));
    }

    pub(crate) fn take_f32(
        &mut self,
        what: &'static str,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, NpeError> {
        let bytes = self.take(what, name, Dtype::F32, shape)?;
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        finite(what, name, values.collect(), f32::is_finite)
    }

    pub(crate) fn take_f64(
        &mut self,
        what: &'static str,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f64>, NpeError> {
        let bytes = self.take(what, name, Dtype::F64, shape)?;
        let values = bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
        finite(what, name, values.collect(), f64::is_finite)
    }

    pub(crate) fn put_i64(&mut self, name: &str, shape: Vec<usize>, values: &[i64]) {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.entries.insert(name.into(), (Dtype::I64, shape, bytes));
    }

    pub(crate) fn take_i64(
        &mut self,
        what: &'static str,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<i64>, NpeError> {
        let bytes = self.take(what, name, Dtype::I64, shape)?;
        let value = |b: &[u8]| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        Ok(bytes.chunks_exact(8).map(value).collect())
    }

    /// Names, ascending.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Shape of an array that is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|(_, shape, _)| shape.as_slice())
    }

    fn take(
        &mut self,
        what: &'static str,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<Vec<u8>, NpeError> {
        let Some((found, found_shape, bytes)) = self.entries.remove(name) else {
            return Err(NpeError::Unreadable { what, why: format!("array `{name}` is missing") });
        };
        if found != dtype || found_shape != shape {
            let why =
                format!("array `{name}` is {found:?} {found_shape:?}, not {dtype:?} {shape:?}");
            return Err(NpeError::Unreadable { what, why });
        }
        Ok(bytes)
    }

    fn digest<T: Serialize>(&self, content: &T) -> String {
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(content).unwrap_or_default());
        for (name, (dtype, shape, bytes)) in &self.entries {
            hash.update(format!("{name}{dtype:?}{shape:?}"));
            hash.update(bytes);
        }
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The file, with `content` in its metadata.
    pub(crate) fn to_bytes<T: Serialize>(&self, format: &str, version: u32, content: T) -> Vec<u8> {
        let sha256 = self.digest(&content);
        let envelope = Envelope { format: format.into(), version, sha256, content };
        let json = serde_json::to_string(&envelope).expect("plain data is always JSON");
        self.serialize(Some(HashMap::from([(ENTRY.to_string(), json)])))
    }

    /// A safetensors file of the arrays alone, as other programs write and read them.
    pub(crate) fn to_plain_bytes(&self) -> Vec<u8> {
        self.serialize(None)
    }

    fn serialize(&self, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
        let views = self.entries.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes)
                .expect("shapes are made together with their bytes");
            (name.as_str(), view)
        });
        safetensors::serialize(views, metadata).expect("views are valid")
    }

    /// Reads the arrays of any safetensors file.
    pub(crate) fn from_plain_bytes(what: &'static str, bytes: &[u8]) -> Result<Self, NpeError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| NpeError::Unreadable {
            what,
            why: format!("not a whole safetensors file ({e})"),
        })?;
        Ok(Self::of(&file))
    }

    fn of(file: &SafeTensors<'_>) -> Self {
        let entries = file
            .tensors()
            .into_iter()
            .map(|(name, v)| (name, (v.dtype(), v.shape().to_vec(), v.data().to_vec())))
            .collect();
        Self { entries }
    }

    /// Reads a file back, checking format, version and checksum.
    pub(crate) fn from_bytes<T: Serialize + DeserializeOwned>(
        what: &'static str,
        format: &str,
        version: u32,
        bytes: &[u8],
    ) -> Result<(Self, T), NpeError> {
        let bad = |why: String| NpeError::Unreadable { what, why };
        let (_, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|e| bad(format!("not a whole safetensors file ({e})")))?;
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| bad(format!("not a whole safetensors file ({e})")))?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(ENTRY))
            .ok_or_else(|| bad(format!("no `{ENTRY}` entry in its metadata")))?;
        let head: Envelope<serde_json::Value> =
            serde_json::from_str(json).map_err(|e| bad(format!("metadata: {e}")))?;
        if head.format != format || head.version != version {
            return Err(bad(format!(
                "it is `{}` version {}, this program reads `{format}` version {version}",
                head.format, head.version
            )));
        }
        let content: T =
            serde_json::from_value(head.content).map_err(|e| bad(format!("metadata: {e}")))?;
        let arrays = Self::of(&file);
        if arrays.digest(&content) != head.sha256 {
            return Err(bad("its checksum does not match: the file is corrupt".into()));
        }
        Ok((arrays, content))
    }
}

fn finite<T: Copy>(
    what: &'static str,
    name: &str,
    values: Vec<T>,
    is_finite: fn(T) -> bool,
) -> Result<Vec<T>, NpeError> {
    if values.iter().all(|x| is_finite(*x)) {
        return Ok(values);
    }
    Err(NpeError::Unreadable {
        what,
        why: format!("array `{name}` holds values that are not finite"),
    })
}
