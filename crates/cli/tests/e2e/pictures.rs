//! `generate` and `edit` as a user calls them, on tiny models.

use std::path::{Path, PathBuf};
use std::process::Output;

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use crate::server;

pub fn model(case: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../flux/tests/golden")
        .join(case)
        .join("model");
    folder.to_str().expect("UTF-8").to_owned()
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub fn tintype(folder: &TempDir, arguments: &[&str]) -> Output {
    server::tintype(folder.path())
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// What a successful call prints.
pub fn printed(folder: &TempDir, arguments: &[&str]) -> String {
    let output = tintype(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "", "a pipe sees no progress");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a failing call complains about: one line.
pub fn complaint(folder: &TempDir, arguments: &[&str]) -> String {
    let output = tintype(folder, arguments);
    assert!(!output.status.success());
    assert_eq!(output.stdout, b"");
    let complaint = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    complaint
}

pub fn picture(folder: &TempDir, name: &str) -> RgbImage {
    let path: PathBuf = folder.path().join(name);
    image::open(path).expect("a picture").into_rgb8()
}

#[test]
fn generate_draws_and_reports_and_the_seed_repeats() {
    let folder = folder();
    let model = model("schnell");
    let fixed = ["generate", "a red circle", "--model", &model];
    let with = |more: &[&'static str]| [&fixed[..], more].concat();
    let json = printed(
        &folder,
        &with(&[
            "--seed", "7", "--steps", "2", "--aspect", "3:2", "-o", "a.png", "--json",
        ]),
    );
    let report: Value = serde_json::from_str(&json).expect("JSON");
    let (width, height) = picture(&folder, "a.png").dimensions();
    assert_eq!(report["model"], "golden-schnell");
    assert_eq!((&report["seed"], &report["steps"]), (&7.into(), &2.into()));
    assert_eq!(
        (&report["width"], &report["height"]),
        (&width.into(), &height.into())
    );
    assert_eq!(report["file"], "a.png");
    for stage in ["load", "text", "encode", "denoise", "decode"] {
        assert!(report["seconds"][stage].is_number(), "{stage}");
    }
    let again = [
        "--seed",
        "7",
        "--steps",
        "2",
        "--aspect",
        "3:2",
        "--threads",
        "1",
        "-o",
        "b.png",
    ];
    let line = printed(&folder, &with(&again));
    assert!(
        line.starts_with(&format!("b.png: {width}×{height}, seed 7, 2 steps in")),
        "{line}"
    );
    assert!(picture(&folder, "a.png") == picture(&folder, "b.png"));
}

#[test]
fn loras_are_named_or_given_as_files_and_unknown_ones_are_told_their_neighbours() {
    let folder = folder();
    let model = model("schnell");
    let golden = Path::new(&model).join("../../lora/schnell");
    let loras = folder.path().join("loras");
    std::fs::create_dir(&loras).expect("a folder");
    std::fs::copy(
        golden.join("kohya.safetensors"),
        loras.join("style.safetensors"),
    )
    .expect("a file");
    let draw = |output: &str, loras: &[&str]| {
        let fixed = [
            "generate", "a star", "--model", &model, "--seed", "1", "--steps", "2", "--width",
            "32", "--height", "24", "-o", output,
        ];
        server::tintype(folder.path())
            .args(fixed)
            .args(loras.iter().flat_map(|lora| ["--lora", *lora]))
            .env("TINTYPE_DATA", folder.path())
            .output()
            .expect("the binary runs")
    };
    let file = golden.join("kohya.safetensors").display().to_string();
    for (output, loras) in [
        ("plain.png", &[][..]),
        ("zero.png", &["style:0"]),
        ("name.png", &["style:0.7"]),
        ("file.png", &[&format!("{file}:0.7")]),
        ("two.png", &["style:0.7", &format!("{file}:-0.2")]),
    ] {
        let drawn = draw(output, loras);
        let stderr = String::from_utf8_lossy(&drawn.stderr);
        assert!(drawn.status.success(), "{output}: {stderr}");
    }
    let picture = |name| picture(&folder, name);
    assert!(picture("zero.png") == picture("plain.png"));
    assert!(picture("name.png") != picture("plain.png"));
    assert!(picture("name.png") == picture("file.png"));
    assert!(picture("two.png") != picture("name.png"));
    let refused = draw("none.png", &["stile"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(
        stderr.contains("there is no LoRA stile; near it are style"),
        "{stderr}"
    );
    let outside = draw("none.png", &["style:99"]);
    let stderr = String::from_utf8_lossy(&outside.stderr);
    assert!(stderr.contains("between -20 and 20"), "{stderr}");
    let list = printed(&folder, &["lora", "list", "--data", "."]);
    assert!(
        list.contains("style  3 to 5  23 + 12 of CLIP  tintype, portrait"),
        "{list}"
    );
}

#[test]
fn the_output_has_a_name_of_its_own_and_jpeg_goes_by_the_ending() {
    let folder = folder();
    let model = model("schnell");
    let fixed = [
        "generate", "a star", "--model", &model, "--seed", "-1", "--width", "35", "--height", "20",
    ];
    printed(&folder, &fixed);
    let name = format!("tintype-{}.png", u64::MAX);
    assert_eq!(picture(&folder, &name).dimensions(), (32, 16));
    printed(
        &folder,
        &[&fixed[..], &["-o", "x.JPEG", "--dtype", "bf16"]].concat(),
    );
    let bytes = std::fs::read(folder.path().join("x.JPEG")).expect("a file");
    assert_eq!(bytes[..3], [0xff, 0xd8, 0xff]);
}

#[test]
fn edit_takes_the_size_of_its_picture_or_leaves_it_alone() {
    let folder = folder();
    let source = RgbImage::from_fn(90, 40, |x, y| Rgb([x as u8, 200, 3 * y as u8]));
    source
        .save(folder.path().join("cake.v2.png"))
        .expect("saved");
    let model = model("kontext");
    let fixed = [
        "edit",
        "cake.v2.png",
        "make it green",
        "--model",
        &model,
        "--seed",
        "1",
        "--steps",
        "2",
    ];
    printed(&folder, &fixed);
    let resized = picture(&folder, "cake.v2-edited.png");
    assert_eq!(resized.dimensions(), (72, 32));
    printed(
        &folder,
        &[&fixed[..], &["--no-auto-resize", "-o", "own.png"]].concat(),
    );
    let own = picture(&folder, "own.png");
    assert_eq!(own.dimensions(), (72, 32));
    assert!(own != resized);
}

#[test]
fn mistakes_are_one_clear_line_and_nothing_is_written() {
    let folder = folder();
    std::fs::write(folder.path().join("not-a-picture.png"), "hello").expect("a file");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    let [text_only, kontext] = [model("schnell"), model("kontext")];
    let cases: [(&[&str], &str); 8] = [
        (
            &["generate", "x", "--model", "flux-pro-9"],
            "there is no model flux-pro-9",
        ),
        (
            &["generate", "x", "--model", "empty"],
            "holds no model_index.json",
        ),
        (
            &["generate", "x", "-o", "x.gif"],
            "must end in .png, .jpg or .jpeg",
        ),
        (
            &["generate", "x", "-o", "nowhere/x.png"],
            "there is no folder nowhere",
        ),
        (
            &["generate", "x", "--model", &text_only, "--steps", "9999"],
            "steps must be between",
        ),
        (
            &["edit", "none.png", "x", "--model", &kontext],
            "cannot open none.png",
        ),
        (
            &["edit", "not-a-picture.png", "x", "--model", &kontext],
            "cannot be used as a picture",
        ),
        (
            &["edit", "good.png", "x", "--model", &text_only],
            "editing needs a Kontext model",
        ),
    ];
    let good = RgbImage::from_pixel(20, 20, Rgb([9, 9, 9]));
    good.save(folder.path().join("good.png")).expect("saved");
    for (arguments, expected) in cases {
        let complaint = complaint(&folder, arguments);
        assert!(complaint.contains(expected), "{complaint}");
    }
    let files = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 3);
}
