//! Folders of published estimators: `model.json`, `model.safetensors` and
//! `vectors.safetensors`.

use super::input;
use crate::stages::StageError;
use outshine_npe::sbi::{Deviations, FILES, PublishedModel, TOLERANCE, Vectors};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder, read and found whole.
struct Folder {
    path: PathBuf,
    model: PublishedModel,
    vectors: Option<(Vec<u8>, Vectors)>,
}

impl Folder {
    fn read(path: &Path) -> Result<Self, StageError> {
        let [card, weights, vectors] = FILES.map(|name| path.join(name));
        let here = |e: outshine_npe::NpeError| input(&path.display().to_string(), e.to_string());
        let json = String::from_utf8(read(&card)?)
            .map_err(|_| input(&card.display().to_string(), "is no UTF-8 text".to_owned()))?;
        let model = PublishedModel::from_files(&json, &read(&weights)?).map_err(here)?;
        let vectors = if vectors.exists() {
            let bytes = read(&vectors)?;
            model.check_vectors_digest(&bytes).map_err(here)?;
            let read = Vectors::from_bytes(&bytes, &model).map_err(here)?;
            Some((bytes, read))
        } else {
            None
        };
        Ok(Self { path: path.to_owned(), model, vectors })
    }

    /// None where there are no vectors.
    fn deviations(&self) -> Result<Option<Deviations>, StageError> {
        let check = |(_, vectors): &(_, Vectors)| vectors.check(&self.model);
        Ok(self.vectors.as_ref().map(check).transpose()?)
    }

    fn judge(&self, deviations: &Deviations) -> Result<(), StageError> {
        let beyond = deviations.beyond();
        if beyond.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "{} deviate by more than {TOLERANCE} from {}: weights and vectors are not of the same \
             network\n{deviations}",
            beyond.join(", "),
            FILES[2]
        );
        Err(input(&self.path.display().to_string(), problem))
    }
}

/// Reads a published estimator, compares it with its test vectors, if there
/// are any, and writes `out`: the same network with SHA-256 digests in its
/// `model.json`. Returns what was read and found, in words.
///
/// # Errors
/// [`StageError`] naming folder, file and tensor, or the parameters that
/// deviate; nothing is written then.
pub fn import_model(folder: &Path, out: &Path) -> Result<String, StageError> {
    let folder = Folder::read(folder)?;
    let model = &folder.model;
    let mut text = describe(model);
    match folder.deviations()? {
        None => text.push_str("not compared: there is no vectors.safetensors\n"),
        Some(deviations) => {
            folder.judge(&deviations)?;
            text.push_str(&deviations.to_string());
        }
    }
    let vectors = folder.vectors.as_ref().map(|(bytes, _)| bytes.as_slice());
    let (json, weights) = (model.to_json(vectors), model.to_safetensors());
    let mut files = vec![(FILES[0], json.as_bytes()), (FILES[1], weights.as_slice())];
    files.extend(vectors.map(|bytes| (FILES[2], bytes)));
    write_folder(out, &files)?;
    Ok(text)
}

/// Computes the test vectors of a published estimator again. Returns the
/// largest deviations, in words.
///
/// # Errors
/// [`StageError`] naming folder, file and tensor, or the parameters that
/// deviate by more than [`TOLERANCE`].
pub fn check_model(folder: &Path) -> Result<String, StageError> {
    let folder = Folder::read(folder)?;
    let Some(deviations) = folder.deviations()? else {
        let name = folder.path.join(FILES[2]).display().to_string();
        return Err(input(&name, "is missing: there is nothing to compare with".to_owned()));
    };
    folder.judge(&deviations)?;
    Ok(format!("{}{deviations}", describe(&folder.model)))
}

fn describe(model: &PublishedModel) -> String {
    let (context, source) = model.context_and_source();
    format!(
        "{} blocks of {} hidden units, {} parameters, {} context values\ncontext: {context}\n\
         source: {source}\nweights_sha256: {}\n",
        model.blocks(),
        model.hidden(),
        model.dims(),
        model.context_len(),
        model.digest()
    )
}

fn read(path: &Path) -> Result<Vec<u8>, StageError> {
    std::fs::read(path).map_err(|e| input(&path.display().to_string(), e.to_string()))
}

/// Writes a new folder, whole or not at all: beside, to disk, then renamed.
fn write_folder(out: &Path, files: &[(&str, &[u8])]) -> Result<(), StageError> {
    let name = out.display().to_string();
    let Some(last) = out.file_name() else {
        return Err(input(&name, "is no name for a new folder".to_owned()));
    };
    if out.exists() {
        return Err(input(&name, "exists already: give a new folder".to_owned()));
    }
    let partial = format!(".{}.{}.partial", last.to_string_lossy(), std::process::id());
    let partial = out.with_file_name(partial);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir(&partial)?;
        for (name, bytes) in files {
            let mut file = std::fs::File::create_new(partial.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        std::fs::rename(&partial, out)
    };
    write().map_err(|e| {
        // What is left of it is of no use; the error that matters is the first.
        let _ = std::fs::remove_dir_all(&partial);
        input(&name, format!("cannot be written: {e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_folder(parent: &Path) -> PathBuf {
        let folder = parent.join("in");
        let model = PublishedModel::random(3, 4, 2, 8, 1);
        let vectors = Vectors::of(&model, 2, 5, 3).unwrap().to_safetensors();
        let weights = model.to_safetensors();
        let json = model.to_json(None);
        let files = [json.as_bytes(), weights.as_slice(), vectors.as_slice()];
        write_folder(&folder, &[(FILES[0], files[0]), (FILES[1], files[1]), (FILES[2], files[2])])
            .unwrap();
        folder
    }

    #[test]
    fn an_imported_folder_is_a_normalised_copy() {
        let parent = tempfile::tempdir().unwrap();
        let folder = random_folder(parent.path());
        let out = parent.path().join("out");
        let text = import_model(&folder, &out).unwrap();
        assert!(text.contains("2 blocks of 8 hidden units"), "{text}");
        assert!(check_model(&out).unwrap().contains("theta_2"));
        for name in &FILES[1..] {
            assert_eq!(std::fs::read(folder.join(name)).unwrap(), read(&out.join(name)).unwrap());
        }
        let again = parent.path().join("again");
        import_model(&out, &again).unwrap();
        assert_eq!(read(&out.join(FILES[0])).unwrap(), read(&again.join(FILES[0])).unwrap());
        let error = import_model(&folder, &out).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");

        // Changed after the import.
        let mut vectors = read(&out.join(FILES[2])).unwrap();
        *vectors.last_mut().unwrap() ^= 1;
        std::fs::write(out.join(FILES[2]), vectors).unwrap();
        let error = check_model(&out).unwrap_err().to_string();
        assert!(error.contains("vectors.safetensors") && error.contains("SHA-256"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_written() {
        let parent = tempfile::tempdir().unwrap();
        let folder = random_folder(parent.path());
        let out = parent.path().join("out");
        let refused = |words: &[&str]| {
            for error in [check_model(&folder), import_model(&folder, &out).map(|_| String::new())]
            {
                let error = error.unwrap_err().to_string();
                for word in words {
                    assert!(error.contains(word), "`{word}` is not in: {error}");
                }
            }
            assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        };
        let weights = read(&folder.join(FILES[1])).unwrap();
        let vectors = read(&folder.join(FILES[2])).unwrap();
        let json = String::from_utf8(read(&folder.join(FILES[0])).unwrap()).unwrap();
        // Without a digest, so that what is wrong inside is found.
        let lines = json.lines().filter(|line| !line.contains("weights_sha256"));
        let json = lines.collect::<Vec<_>>().join("\n").replace("],\n}", "]\n}");
        std::fs::write(folder.join(FILES[0]), &json).unwrap();

        std::fs::write(folder.join(FILES[1]), &weights[..weights.len() - 4]).unwrap();
        refused(&["in: model.safetensors", "not a whole"]);
        // The last tensor by name among the float32 ones, of a file in that order.
        let mut nan = weights.clone();
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(folder.join(FILES[1]), &nan).unwrap();
        refused(&["in: model.safetensors", "`t3.initial_layer.weight`", "not finite"]);
        std::fs::remove_file(folder.join(FILES[1])).unwrap();
        refused(&["in/model.safetensors"]);

        // Weights of another network of the same size, and of another size.
        let other = PublishedModel::random(3, 4, 2, 8, 2).to_safetensors();
        std::fs::write(folder.join(FILES[1]), other).unwrap();
        refused(&["theta_0, theta_1, theta_2, log_prob deviate", "same network"]);
        let other = PublishedModel::random(3, 5, 2, 8, 2).to_safetensors();
        std::fs::write(folder.join(FILES[1]), other).unwrap();
        refused(&["in: vectors.safetensors", "`context`"]);

        std::fs::write(folder.join(FILES[1]), &weights).unwrap();
        std::fs::write(folder.join(FILES[2]), &vectors[..vectors.len() / 2]).unwrap();
        refused(&["in: vectors.safetensors", "not a whole"]);
        std::fs::remove_file(folder.join(FILES[2])).unwrap();
        let error = check_model(&folder).unwrap_err().to_string();
        assert!(error.contains("nothing to compare with"), "{error}");
        assert!(import_model(&folder, &out).unwrap().contains("not compared"));
        assert!(out.join(FILES[0]).exists() && !out.join(FILES[2]).exists());
    }
}
