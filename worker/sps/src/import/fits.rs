//! A reader for the plain image HDUs of FITS files: big-endian f32 or f64,
//! no scaling, no compression.

use crate::error::SpsError;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const BLOCK: u64 = 2880;
const CARD: usize = 80;

/// One image: its name, its axes (fastest first) and where its data lie.
struct Hdu {
    name: String,
    axes: Vec<usize>,
    bytes_per_value: usize,
    offset: u64,
}

/// An open FITS file.
pub struct FitsFile {
    what: String,
    reader: BufReader<File>,
    hdus: Vec<Hdu>,
}

/// A two-dimensional image.
pub struct Image {
    /// Number of rows (1 for a one-dimensional image).
    pub rows: usize,
    /// Values per row.
    pub columns: usize,
    /// (rows, columns), columns contiguous.
    pub values: Vec<f64>,
}

impl Image {
    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
}

impl FitsFile {
    /// Opens a file and reads its headers.
    pub fn open(path: &Path) -> Result<Self, SpsError> {
        let what = path.display().to_string();
        let io = |source| SpsError::Io { path: path.display().to_string(), source };
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let length = reader.seek(SeekFrom::End(0)).map_err(io)?;
        let mut hdus = Vec::new();
        let mut at = 0;
        while at < length {
            reader.seek(SeekFrom::Start(at)).map_err(io)?;
            let (hdu, header_blocks, data_bytes) = read_header(&mut reader, &what)?;
            let offset = at + header_blocks * BLOCK;
            at = offset + data_bytes.div_ceil(BLOCK) * BLOCK;
            if at > length {
                return Err(SpsError::format(&what, "truncated"));
            }
            hdus.push(Hdu { offset, ..hdu });
        }
        Ok(Self { what, reader, hdus })
    }

    /// Reads the image named `name`.
    pub fn image(&mut self, name: &str) -> Result<Image, SpsError> {
        let hdu = self.hdus.iter().find(|hdu| hdu.name == name);
        let hdu = hdu.ok_or_else(|| SpsError::format(&self.what, format!("no HDU {name}")))?;
        let columns = hdu.axes.first().copied().unwrap_or(0);
        let rows: usize = hdu.axes.iter().skip(1).product();
        let mut bytes = vec![0u8; columns * rows * hdu.bytes_per_value];
        let read = self
            .reader
            .seek(SeekFrom::Start(hdu.offset))
            .and_then(|_| self.reader.read_exact(&mut bytes));
        read.map_err(|source| SpsError::Io { path: self.what.clone(), source })?;
        let values = if hdu.bytes_per_value == 8 {
            bytes.as_chunks().0.iter().map(|b| f64::from_be_bytes(*b)).collect()
        } else {
            bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_be_bytes(*b))).collect()
        };
        Ok(Image { rows, columns, values })
    }
}

/// One header: the HDU without its offset, the header's blocks, the data's bytes.
fn read_header(reader: &mut impl Read, what: &str) -> Result<(Hdu, u64, u64), SpsError> {
    let (mut bitpix, mut axes, mut name) = (8i64, Vec::new(), String::new());
    for blocks in 1..=1000 {
        let mut block = [0u8; BLOCK as usize];
        reader.read_exact(&mut block).map_err(|_| SpsError::format(what, "truncated header"))?;
        for card in block.chunks_exact(CARD) {
            let card = String::from_utf8_lossy(card);
            let (key, value) = card.split_at_checked(8).unwrap_or((&card, ""));
            let value = value.trim_start_matches('=').split('/').next().unwrap_or("").trim();
            let number =
                || value.parse::<i64>().map_err(|_| SpsError::format(what, format!("card {card}")));
            match key.trim_end() {
                "END" => {
                    let size = if axes.is_empty() { 0 } else { axes.iter().product::<usize>() };
                    let bytes_per_value = bitpix.unsigned_abs() as usize / 8;
                    if size > 0 && bitpix != -32 && bitpix != -64 {
                        return Err(SpsError::format(what, format!("HDU {name}: not f32 or f64")));
                    }
                    let bytes = (size * bytes_per_value) as u64;
                    return Ok((Hdu { name, axes, bytes_per_value, offset: 0 }, blocks, bytes));
                }
                "BITPIX" => bitpix = number()?,
                "EXTNAME" => name = value.trim_matches('\'').trim().to_owned(),
                "NAXIS" => {}
                key if key.starts_with("NAXIS") => {
                    let n = usize::try_from(number()?).ok().filter(|&n| n < 1 << 24);
                    axes.push(n.ok_or_else(|| SpsError::format(what, format!("card {card}")))?);
                }
                "BSCALE" | "BZERO" | "ZIMAGE" => {
                    return Err(SpsError::format(what, "scaled or compressed images"));
                }
                _ => {}
            }
        }
    }
    Err(SpsError::format(what, "no end of header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, cards: &[&str], values: &[f64]) -> std::path::PathBuf {
        let mut bytes: Vec<u8> =
            cards.iter().flat_map(|c| format!("{c:<80}").into_bytes()).collect();
        bytes.resize(2880, b' ');
        values.iter().for_each(|v| bytes.extend_from_slice(&v.to_be_bytes()));
        if !values.is_empty() {
            bytes.resize(5760, 0);
        }
        let path = std::env::temp_dir().join(format!("outshine-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn an_image_comes_back_in_row_order() {
        let cards = [
            "SIMPLE  =                    T",
            "BITPIX  =                  -64 / doubles",
            "NAXIS   =                    2",
            "NAXIS1  =                    3",
            "NAXIS2  =                    2",
            "EXTNAME = 'GRID    '           / a name",
            "END",
        ];
        let path = file("good.fits", &cards, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]);
        let mut fits = FitsFile::open(&path).unwrap();
        let image = fits.image("GRID").unwrap();
        assert_eq!((image.rows, image.columns), (2, 3));
        assert_eq!(image.row(1), [4.0, 5.0, 6.5]);
        assert!(fits.image("OTHER").is_err());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..3000]).unwrap();
        assert!(FitsFile::open(&path).is_err(), "truncated");
        std::fs::remove_file(path).unwrap();
    }
}
