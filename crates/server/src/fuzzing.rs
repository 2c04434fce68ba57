//! What the fuzz targets in `fuzz/` call: each reader of bytes from strangers, and what must hold
//! whatever they send. `tools/fuzz` runs them; a test here replays their corpus.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use futures::FutureExt;
use tintype_moderation::{Category, RuleSet};
use tintype_service::test_support::{refusal_of_picture, signature_in};

use crate::body::{Purpose, take_apart_anything};
use crate::lenient::{LENIENT_LIMIT_BYTES, read_flat_object};
use crate::limits::INPUTS;
use crate::socket::understands;

/// What headers say; the first byte of the input chooses.
const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "multipart/form-data",
    "multipart/form-data; boundary=b",
    "application/x-www-form-urlencoded",
    "",
];

const PURPOSES: [Purpose; 3] = [Purpose::Run, Purpose::Task, Purpose::Question];

/// The body of a request: few inputs, or a refusal.
///
/// # Panics
/// When that does not hold.
pub fn body(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    let choice = usize::from(choice);
    let mut headers = HeaderMap::new();
    let content_type = CONTENT_TYPES[choice % CONTENT_TYPES.len()];
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let purpose = PURPOSES[choice / CONTENT_TYPES.len() % PURPOSES.len()];
    let read = take_apart_anything(&headers, Bytes::copy_from_slice(body), purpose);
    // The whole body is there, so there is nothing to wait for.
    let read = read.now_or_never().expect("an answer at once");
    assert!(read.map_or(0, |inputs| inputs.len()) <= INPUTS);
}

/// The lenient reader: nothing comes out that was not put in.
///
/// # Panics
/// When that does not hold.
pub fn lenient(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(pairs) = read_flat_object(&text) else {
        return;
    };
    assert!(text.len() <= LENIENT_LIMIT_BYTES);
    let read: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(read <= text.len());
}

/// The signature header: what is found stands in it.
///
/// # Panics
/// When that does not hold.
pub fn signature(data: &[u8]) {
    let header = String::from_utf8_lossy(data);
    if let Some(signature) = signature_in(&header) {
        let digits: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(header.to_ascii_lowercase().contains(&digits));
    }
}

/// The sniffing and decoding of pictures: a picture or a sentence.
///
/// # Panics
/// When that does not hold.
pub fn picture(data: &[u8]) {
    let refusal = refusal_of_picture(data);
    assert!(refusal.is_none_or(|sentence| sentence.ends_with('.')));
}

/// A message on the websocket: only texts with the right words are understood.
///
/// # Panics
/// When that does not hold.
pub fn message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if understands(&text) {
        assert!(text.trim_start().starts_with('{'));
    }
}

/// A prompt under the built-in rules: scores between 0 and 1, each rule met once at most.
///
/// # Panics
/// When that does not hold.
pub fn prompt(data: &[u8]) {
    static RULES: LazyLock<RuleSet> = LazyLock::new(RuleSet::builtin);
    let text = String::from_utf8_lossy(data);
    let scores = RULES.scores(&text);
    let all = Category::ALL.map(|category| scores.of(category));
    assert!(all.iter().all(|score| (0.0..=1.0).contains(score)));
    assert!(RULES.matches(&text).len() <= RULES.len());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]);

    #[test]
    fn the_corpus_of_the_fuzz_targets_does_no_harm() {
        let targets: [(&str, Target); 6] = [
            ("body", body),
            ("lenient", lenient),
            ("signature", signature),
            ("picture", picture),
            ("message", message),
            ("prompt", prompt),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
            let files = std::fs::read_dir(folder.join(name)).expect("a folder");
            let mut replayed = 0;
            for file in files {
                let file = file.expect("a file").path();
                println!("{}", file.display());
                target(&std::fs::read(file).expect("its bytes"));
                replayed += 1;
            }
            assert!(replayed >= 3, "{name}: {replayed} files");
        }
    }
}
