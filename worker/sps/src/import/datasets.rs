//! Named arrays in one file: HDF5 or `.npz`.

use super::npz::{self, Npz};
use crate::error::SpsError;
use hdf5_pure::DType;

/// One array of numbers.
pub(super) struct Dataset {
    /// Length of each axis, the last contiguous.
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

enum Inner {
    /// With the length of the file.
    Hdf5(Box<hdf5_pure::File>, usize),
    Npz(Npz),
}

/// The arrays of one file. Errors name file and dataset.
pub(super) struct Datasets {
    file: String,
    inner: Inner,
}

impl Datasets {
    /// `file` is the name in errors; the bytes tell the format.
    pub fn new(file: &str, bytes: Vec<u8>) -> Result<Self, SpsError> {
        let inner = if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
            let length = bytes.len();
            hdf5_pure::File::from_bytes(bytes)
                .map(|f| Inner::Hdf5(Box::new(f), length))
                .map_err(|e| SpsError::format(file, format!("no sound HDF5 file: {e}")))?
        } else if bytes.starts_with(npz::MAGIC) {
            Npz::new(bytes).map(Inner::Npz).map_err(|e| SpsError::format(file, e))?
        } else {
            return Err(SpsError::format(file, "it is neither HDF5 nor .npz"));
        };
        Ok(Self { file: file.to_owned(), inner })
    }

    /// An error about one dataset.
    pub fn error(&self, name: &str, problem: impl std::fmt::Display) -> SpsError {
        SpsError::format(&self.file, format!("dataset `{name}`: {problem}"))
    }

    /// One array of finite numbers; `None` where there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Dataset>, SpsError> {
        let found = match &self.inner {
            Inner::Npz(archive) => archive.get(name).map_err(|e| self.error(name, e))?,
            Inner::Hdf5(file, length) => {
                let names = file.root().datasets().map_err(|e| self.error(name, e))?;
                if names.iter().any(|n| n == name) {
                    Some(read_hdf5(file, *length, name).map_err(|e| self.error(name, e))?)
                } else {
                    None
                }
            }
        };
        if let Some(dataset) = &found {
            if dataset.shape.iter().product::<usize>() != dataset.values.len() {
                return Err(self.error(name, "truncated"));
            }
            if let Some(at) = dataset.values.iter().position(|v| !v.is_finite()) {
                return Err(self.error(name, format!("value {at} is no finite number")));
            }
        }
        Ok(found)
    }

    /// The same for an array that must be there, with this many axes.
    pub fn require(&self, name: &str, axes: usize) -> Result<Dataset, SpsError> {
        let dataset = self.get(name)?.ok_or_else(|| self.error(name, "missing"))?;
        if dataset.shape.len() != axes {
            let problem = format!("it has {} axes where {axes} are expected", dataset.shape.len());
            return Err(self.error(name, problem));
        }
        Ok(dataset)
    }

    /// An axis: at least `least` rising numbers.
    pub fn axis(&self, name: &str, least: usize) -> Result<Vec<f64>, SpsError> {
        let values = self.require(name, 1)?.values;
        if values.len() < least {
            return Err(self.error(name, format!("at least {least} values are needed")));
        }
        if let Some(at) = values.windows(2).position(|w| w[1] <= w[0]) {
            return Err(self.error(name, format!("it does not rise at value {}", at + 1)));
        }
        Ok(values)
    }
}

/// The most that deflate shrinks.
pub(super) const MOST_DEFLATED: usize = 1032;

fn read_hdf5(file: &hdf5_pure::File, length: usize, name: &str) -> Result<Dataset, String> {
    let dataset = file.dataset(name).map_err(|e| e.to_string())?;
    let shape = dataset.shape().map_err(|e| e.to_string())?;
    let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
    let width = match dataset.dtype().map_err(|e| e.to_string())? {
        DType::F64 => 8,
        DType::F32 => 4,
        DType::U8 => 1,
        other => return Err(format!("its type is {other:?}: float32 or float64 is expected")),
    };
    // The reader reserves what the shape says: a false one must not reach it.
    let bytes = shape.iter().try_fold(width, |n: usize, &m| n.checked_mul(m));
    if bytes.is_none_or(|n| n / MOST_DEFLATED > length) {
        return Err(format!("its shape {shape:?} is impossible: the file is damaged"));
    }
    let hint = "save it with the defaults of h5py, or as .npz";
    let values = dataset.read_f64().map_err(|e| format!("{e}: {hint}"))?;
    Ok(Dataset { shape, values })
}
