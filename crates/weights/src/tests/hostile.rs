//! Files that lie: each gives one sentence that says what is wrong, and takes no memory for what it
//! claims.

use tintype_compute::Encoding;

use crate::{
    Error, Weights,
    test_support::{GgufValue, gguf},
};

fn error(bytes: Vec<u8>) -> String {
    match Weights::from_owned("hostile", bytes) {
        Ok(_) => panic!("such a file opens"),
        Err(Error::Format { file, reason }) => {
            assert_eq!(file, "hostile");
            reason
        }
        Err(other) => panic!("{other}"),
    }
}

/// One key, `general.alignment`, and two tensors of 32 bytes.
fn good() -> Vec<u8> {
    let keys = [("general.alignment", GgufValue::U32(32))];
    let numbers = [0; 32];
    let tensors: [(&str, &[usize], _, &[u8]); 2] = [
        ("first", &[2, 4], Encoding::F32, &numbers),
        ("other", &[8], Encoding::F32, &numbers),
    ];
    gguf(&keys, &tensors)
}

/// Where the text `what` ends in `bytes`.
fn after(bytes: &[u8], what: &str) -> usize {
    let mut windows = bytes.windows(what.len());
    let start = windows.position(|window| window == what.as_bytes());
    start.expect("is in the file") + what.len()
}

/// The good file with other bytes `skip` after the text `what`.
fn with(what: &str, skip: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = good();
    let at = after(&file, what) + skip;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_gguf_file_that_was_cut_anywhere_is_refused() {
    let file = good();
    Weights::from_owned("good", file.clone()).expect("the whole file opens");
    for length in 0..file.len() {
        let reason = error(file[..length].to_vec());
        assert!(!reason.is_empty(), "{length} bytes");
    }
    assert!(error(file[..file.len() - 1].to_vec()).contains("`other` ends after the file"));
    assert!(error(file[..100].to_vec()).contains("cut short"));
    assert!(error(file[..60].to_vec()).contains("fetch it again"));
}

#[test]
fn a_gguf_file_that_lies_is_refused_with_a_sentence() {
    let huge = (1_u64 << 63).to_le_bytes();
    let number = |value: u32| value.to_le_bytes();
    let long = |value: u64| value.to_le_bytes();
    let array = |element: u32, length: u64| {
        let head = [number(9), number(element)].concat();
        [head, long(length).to_vec()].concat()
    };
    // Behind a tensor's name: number of sizes, the sizes, type, offset.
    let cases = [
        (with("GGUF", 0, &number(1)), "version 1"),
        (with("GGUF", 0, &number(9)), "version 9"),
        (with("GGUF", 0, &3_u32.to_be_bytes()), "big-endian"),
        (
            with("GGUF", 4, &long(u64::MAX)),
            "claims 18446744073709551615 tensors",
        ),
        (with("GGUF", 4, &long(1 << 20)), "claims 1048576 tensors"),
        (with("GGUF", 12, &huge), "claims 9223372036854775808 keys"),
        (with("GGUF", 20, &huge), "longer than any can be"),
        (with("GGUF", 20, &long(60_000)), "cut short"),
        (with("GGUF", 28, &[0xff]), "not UTF-8"),
        (with("alignment", 0, &number(99)), "type 99"),
        (with("alignment", 0, &number(8)), "cut short"),
        (with("alignment", 4, &number(0)), "no power of two"),
        (with("alignment", 4, &number(48)), "no power of two"),
        (with("alignment", 4, &number(1 << 30)), "no power of two"),
        (
            with("alignment", 0, &array(10, 1 << 61)),
            "longer than the file",
        ),
        (
            with("alignment", 0, &array(8, 1 << 40)),
            "longer than the file",
        ),
        (with("first", 0, &number(5)), "`first` has 5 sizes"),
        (with("first", 4, &huge), "larger than any memory"),
        (
            with("first", 4, &long(1 << 40)),
            "`first` ends after the file",
        ),
        (with("first", 20, &number(12)), "rows of 4 values"),
        (with("first", 24, &long(7)), "multiple of 32"),
        (
            with("first", 24, &long(1 << 40)),
            "`first` ends after the file",
        ),
        (
            with("first", 24, &long(u64::MAX - 31)),
            "`first` ends after the file",
        ),
        (with("first", 24, &long(32)), "overlap"),
        (with("other", 16, &long(0)), "overlap"),
    ];
    for (file, expected) in cases {
        let reason = error(file);
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    let mut twice = good();
    let at = after(&twice, "other") - 5;
    twice[at..at + 5].copy_from_slice(b"first");
    assert!(error(twice).contains("two tensors `first`"));
    let key = ("a", GgufValue::Bool(true));
    assert!(error(gguf(&[key.clone(), key], &[])).contains("two keys `a`"));
}

#[test]
fn arrays_within_arrays_end() {
    // An array of one array of one array …
    let mut file = gguf(&[], &[]);
    file[16..24].copy_from_slice(&1_u64.to_le_bytes());
    file.extend([&1_u64.to_le_bytes()[..], b"k", &9_u32.to_le_bytes()].concat());
    for _ in 0..100_000 {
        file.extend([&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat());
    }
    assert!(error(file).contains("arrays within arrays"));
}

/// A safetensors file of this header, before `data` bytes.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn a_safetensors_file_that_lies_is_refused_with_a_sentence() {
    let tensor = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let file = |tensors: &[String], data| safetensors(&format!("{{{}}}", tensors.join(",")), data);
    let good = file(&[tensor("a", "F32", "[2]", "[0,8]")], 8);
    Weights::from_owned("good", good.clone()).expect("opens");
    for length in 0..good.len() {
        assert!(!error(good[..length].to_vec()).is_empty(), "{length} bytes");
    }
    let length = |length: u64| [&length.to_le_bytes()[..], &good[8..]].concat();
    let cases = [
        length(u64::MAX),
        length(1 << 40),
        length(99_999_999),
        length(0),
        safetensors("[1]", 0),
        safetensors(&"[".repeat(100_000), 0),
        safetensors(&r#"{"a":"#.repeat(10_000), 0),
        safetensors("\u{0}", 0),
        file(&[tensor("a", "F32", "[2]", "[0,16]")], 8),
        file(&[tensor("a", "F32", "[2]", "[8,16]")], 8),
        file(&[tensor("a", "F32", "[2]", "[8,0]")], 8),
        file(&[tensor("a", "F64", "[2]", "[0,8]")], 8),
        file(&[tensor("a", "Q4_K", "[2]", "[0,8]")], 8),
        file(&[tensor("a", "F32", "[9223372036854775808]", "[0,8]")], 8),
        file(&[tensor("a", "F32", "[9223372036854775808,2]", "[0,8]")], 8),
        file(&[tensor("a", "F32", "[18446744073709551616]", "[0,8]")], 8),
        file(&[tensor("a", "F32", "[-1]", "[0,8]")], 8),
        file(
            &[
                tensor("a", "F32", "[2]", "[0,8]"),
                tensor("b", "F32", "[2]", "[4,12]"),
            ],
            12,
        ),
        file(
            &[
                tensor("a", "F32", "[2]", "[0,8]"),
                tensor("b", "F32", "[2]", "[0,8]"),
            ],
            8,
        ),
        file(&[tensor("a", "F32", "[1]", "[0,4]")], 8),
    ];
    for (index, file) in cases.into_iter().enumerate() {
        assert!(!error(file).is_empty(), "case {index}");
    }
}

#[test]
fn what_is_no_file_of_weights_is_called_by_its_name() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "git lfs pull",
        ),
        (b"PK\x03\x04 archive/data.pkl", "pickle"),
        (b"\x80\x02}q\x00(X\x05\x00\x00", "pickle"),
        (b"<!DOCTYPE html><html>", "page of the web"),
        (b"some text that is nothing", "fetch it again"),
    ];
    for (bytes, expected) in cases {
        let reason = error(bytes.to_vec());
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

type Target = fn(&[u8]);

#[test]
fn the_corpus_of_the_fuzz_targets_does_no_harm() {
    let targets: [(&str, Target); 2] = [
        ("gguf", crate::fuzzing::gguf),
        ("safetensors", crate::fuzzing::safetensors),
    ];
    for (name, target) in targets {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
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
