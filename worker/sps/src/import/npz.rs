//! Reads `.npz` files, as `numpy.savez` and `numpy.savez_compressed` write
//! them: a zip archive with one `.npy` file per array.
//!
//! Read are the types `<f4`, `<f8` and `|u1`, in C order. The directory at the
//! archive's end says where each file lies (PKWARE APPNOTE 6.3, sections
//! 4.3.7, 4.3.12 and 4.3.16).

use super::datasets::{Dataset, MOST_DEFLATED};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::collections::BTreeMap;

/// How a zip archive begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// Sizes of the fixed parts of a zip archive's records, and of its longest comment.
const END: usize = 22;
const ENTRY: usize = 46;
const LOCAL: usize = 30;
const COMMENT: usize = 65_535;
/// What 32-bit sizes say when the true ones are in an extension.
const ZIP64: usize = 0xffff_ffff;

struct Entry {
    method: usize,
    crc: u32,
    packed: usize,
    size: usize,
    offset: usize,
}

/// An archive in memory.
pub(super) struct Npz {
    bytes: Vec<u8>,
    entries: BTreeMap<String, Entry>,
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |n, &b| (n << 8) | usize::from(b)))
}

impl Npz {
    /// Reads the archive's directory; the text of an error says what is wrong.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        let from = bytes.len().saturating_sub(END + COMMENT);
        let end = (from..=bytes.len().saturating_sub(END))
            .rev()
            .find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))
            .ok_or("the archive's directory is missing: the file is truncated")?;
        let entries = directory(&bytes, end).ok_or("the archive's directory is damaged")?;
        Ok(Self { bytes, entries })
    }

    /// One array; `None` where there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Dataset>, String> {
        let Some(entry) = self.entries.get(&format!("{name}.npy")) else {
            return Ok(None);
        };
        if [entry.packed, entry.size, entry.offset].contains(&ZIP64) {
            return Err("larger than 4 GiB".to_owned());
        }
        let packed = self.packed(entry).ok_or("truncated")?;
        let file = match entry.method {
            0 => packed.to_vec(),
            8 => inflate(packed, entry.size)?,
            other => return Err(format!("compression method {other}: save it again with numpy")),
        };
        let mut crc = Crc::new();
        crc.update(&file);
        if file.len() != entry.size || crc.sum() != entry.crc {
            return Err("its checksum does not match: the file is damaged".to_owned());
        }
        parse_npy(&file).map(Some)
    }

    fn packed(&self, entry: &Entry) -> Option<&[u8]> {
        let header = self.bytes.get(entry.offset..)?;
        let skip = LOCAL + number(header, 26, 2)? + number(header, 28, 2)?;
        header.starts_with(MAGIC).then(|| header.get(skip..skip.checked_add(entry.packed)?))?
    }
}

fn directory(bytes: &[u8], end: usize) -> Option<BTreeMap<String, Entry>> {
    let count = number(bytes, end + 10, 2)?;
    let mut at = number(bytes, end + 16, 4)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let record = bytes.get(at..)?;
        if !record.starts_with(b"PK\x01\x02") {
            return None;
        }
        let name_len = number(record, 28, 2)?;
        let name = String::from_utf8_lossy(record.get(ENTRY..ENTRY + name_len)?).into_owned();
        let entry = Entry {
            method: number(record, 10, 2)?,
            crc: number(record, 16, 4)? as u32,
            packed: number(record, 20, 4)?,
            size: number(record, 24, 4)?,
            offset: number(record, 42, 4)?,
        };
        entries.insert(name, entry);
        at += ENTRY + name_len + number(record, 30, 2)? + number(record, 32, 2)?;
    }
    Some(entries)
}

fn inflate(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    // A false size must not be reserved.
    if size / MOST_DEFLATED > packed.len() {
        return Err("its size is impossible: the file is damaged".to_owned());
    }
    let mut out = Vec::with_capacity(size);
    match Decompress::new(false).decompress_vec(packed, &mut out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => Ok(out),
        Ok(_) => Err("its compressed data end early".to_owned()),
        Err(e) => Err(format!("its compressed data are damaged: {e}")),
    }
}

/// The `.npy` format, versions 1 to 3: magic, version, length of the header,
/// the header (a Python dictionary), then the values.
fn parse_npy(file: &[u8]) -> Result<Dataset, String> {
    let bad = || "it is no .npy array".to_owned();
    if !file.starts_with(b"\x93NUMPY") {
        return Err(bad());
    }
    let wide = *file.get(6).ok_or_else(bad)? > 1;
    let start = if wide { 12 } else { 10 };
    let length = number(file, 8, start - 8).ok_or_else(bad)?;
    let header = file.get(start..start + length).ok_or_else(bad)?;
    let header = std::str::from_utf8(header).map_err(|_| bad())?;
    let value = |key: &str| {
        let after = header.split_once(&format!("'{key}'"))?.1.split_once(':')?.1.trim_start();
        Some(after)
    };
    if !value("fortran_order").ok_or_else(bad)?.starts_with("False") {
        return Err("it is in Fortran order: save numpy.ascontiguousarray of it".to_owned());
    }
    let shape =
        value("shape").and_then(|v| v.strip_prefix('(')?.split_once(')')).ok_or_else(bad)?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(|n| n.parse().map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1usize, |n, &m| n.checked_mul(m)).ok_or_else(bad)?;
    let data = &file[start + length..];
    let descr = value("descr").ok_or_else(bad)?;
    let descr = descr.trim_start_matches('\'').split('\'').next().unwrap_or_default();
    let values: Vec<f64> = match descr {
        "<f4" => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        "<f8" => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        "|u1" => data.iter().map(|&b| f64::from(b)).collect(),
        other => return Err(format!("its type is `{other}`: float32 or float64 is expected")),
    };
    if values.len() != count {
        return Err(format!("it holds {} values where its shape says {count}", values.len()));
    }
    Ok(Dataset { shape, values })
}
