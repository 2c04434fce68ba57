//! What the tests share: the golden files and the devices.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::SafeTensors;
use serde_json::Value;
use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};

pub const CASES: [&str; 2] = ["tied", "untied"];

pub fn devices() -> [Arc<dyn Device>; 2] {
    [Arc::new(ReferenceDevice), Arc::new(CpuDevice::in_f32(2))]
}

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

/// The folder of a case's model.
pub fn folder(case: &str) -> PathBuf {
    golden(case).join("model")
}

pub fn json(file: &str) -> Value {
    let text = fs::read(golden(file)).expect("golden file");
    serde_json::from_slice(&text).expect("golden JSON")
}

/// The numbers of a list.
pub fn ids(list: &Value) -> Vec<u32> {
    let list = list.as_array().expect("a list").iter();
    list.map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// A copy of a case's model, to be changed.
pub fn copy(case: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(folder(case)).expect("golden folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a file");
        fs::copy(&path, copy.path().join(name)).expect("copies");
    }
    copy
}

/// Replaces a part of a copied file.
pub fn change(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).expect("a text");
    let changed = text.replace(from, to);
    assert_ne!(changed, text, "{file} has no {from}");
    fs::write(&path, changed).expect("writable");
}

/// The recorded tensors of a case.
pub struct Golden {
    pub name: String,
    bytes: Vec<u8>,
}

impl Golden {
    pub fn open(case: &str, device: &str) -> Self {
        Self {
            name: format!("{case} on {device}"),
            bytes: fs::read(golden(case).join("trace.safetensors")).expect("golden file"),
        }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("golden file")
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        let file = self.file();
        let view = file.tensor(name).expect("golden ids");
        let values = view.data().as_chunks().0.iter();
        values
            .map(|&bytes| i64::from_le_bytes(bytes) as u32)
            .collect()
    }

    /// Holds `found` against the tensor of this name.
    pub fn check(&self, name: &str, found: &Tensor, tolerance: f64) {
        let file = self.file();
        let view = file.tensor(name).expect("golden tensor");
        assert_eq!(found.shape(), view.shape(), "{} {name}", self.name);
        let expected = view.data().as_chunks().0.iter();
        let expected = expected.map(|&bytes| f32::from_le_bytes(bytes));
        let (mut error, mut power) = (0.0, 0.0);
        for (found, expected) in found.data().iter().zip(expected) {
            error += f64::from(found - expected).powi(2);
            power += f64::from(expected).powi(2);
        }
        let error = (error / power).sqrt();
        println!("{} {name}: {error:e}", self.name);
        assert!(
            error <= tolerance,
            "{} {name}: relative RMS error {error:e}",
            self.name
        );
    }
}
