//! Several pictures out of one command, and pictures that go into it: to start from, and to take
//! things from.

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use crate::pictures::{complaint, folder, model, picture, printed, tintype};

/// A picture of one colour and a gradient, in the folder.
fn put(folder: &TempDir, name: &str, [width, height]: [u32; 2], red: u8) {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([red, (2 * x) as u8, (3 * y) as u8])
    });
    picture.save(folder.path().join(name)).expect("saved");
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("a folder");
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry.expect("an entry")))
        .collect();
    names.sort();
    names
}

/// What a command line that cannot be understood is told.
fn usage(folder: &TempDir, arguments: &[&str]) -> String {
    let output = tintype(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// How far two pictures are from each other: the mean difference of their values.
fn distance(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let pairs = one.as_raw().iter().zip(other.as_raw());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.as_raw().len() as f64
}

#[test]
fn several_pictures_are_numbered_and_the_first_is_what_one_alone_would_be() {
    let folder = folder();
    let model = model("schnell");
    let draw = |more: &[&str]| {
        let fixed = [
            "generate", "a star", "--model", &model, "--seed", "7", "--steps", "2",
        ];
        printed(&folder, &[&fixed[..], more].concat())
    };
    draw(&["-o", "one.png"]);
    let reports = draw(&["-n", "3", "-o", "set.png", "--json"]);
    let reports: Vec<Value> = reports
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let files: Vec<_> = reports.iter().map(|report| &report["file"]).collect();
    assert_eq!(files, ["set-1.png", "set-2.png", "set-3.png"]);
    assert!(reports.iter().all(|report| report["seed"] == 7));
    let set = ["set-1.png", "set-2.png", "set-3.png"].map(|name| picture(&folder, name));
    assert!(set[0] == picture(&folder, "one.png"));
    assert!(set[1] != set[0] && set[2] != set[0] && set[2] != set[1]);
    let lines = draw(&["--number", "2"]);
    let starts = ["tintype-7-1.png: ", "tintype-7-2.png: "];
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for (line, start) in lines.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(picture(&folder, "tintype-7-2.png") == set[1]);
    // A file with the name of the whole is not among them.
    assert!(!folder.path().join("set.png").exists());
    for number in ["0", "17", "two"] {
        let told = usage(&folder, &["generate", "a star", "-n", number]);
        assert!(told.contains("--number") && told.contains(number), "{told}");
    }
}

#[test]
fn a_drawing_starts_from_a_picture_and_goes_as_far_as_it_is_told() {
    let folder = folder();
    // Something that the bundled model knows: of other pictures its first step keeps little.
    let start = RgbImage::from_fn(96, 64, |x, y| {
        let square = (38..58).contains(&x) && (22..42).contains(&y);
        Rgb(if square {
            [38, 88, 224]
        } else {
            [208, 190, 244]
        })
    });
    start.save(folder.path().join("start.png")).expect("saved");
    let draw = |strength: &str, output: &str| {
        let fixed = [
            "generate",
            "a red circle",
            "--seed",
            "3",
            "--image",
            "start.png",
        ];
        let said = ["--strength", strength, "-o", output];
        printed(&folder, &[&fixed[..], &said].concat());
        picture(&folder, output)
    };
    let (near, far) = (draw("0.25", "near.png"), draw("1", "far.png"));
    let (width, height) = near.dimensions();
    assert!(width > height, "the ratio of the picture: {width}×{height}");
    let start =
        image::imageops::resize(&start, width, height, image::imageops::FilterType::Triangle);
    let [from_near, from_far] = [near, far].map(|drawn| distance(&drawn, &start));
    assert!(2.0 * from_near < from_far, "{from_near} and {from_far}");
    let same = printed(
        &folder,
        &[
            "generate",
            "a red circle",
            "--seed",
            "3",
            "--image",
            "start.png",
            "-o",
            "usual.png",
        ],
    );
    assert!(same.starts_with("usual.png: "), "{same}");
    let stated = draw("0.6", "stated.png");
    assert!(
        picture(&folder, "usual.png") == stated,
        "0.6 is the usual one"
    );
}

#[test]
fn a_picture_to_start_from_that_is_none_is_said_and_nothing_is_drawn() {
    let folder = folder();
    std::fs::write(folder.path().join("text.png"), "hello").expect("a file");
    put(&folder, "start.png", [32, 32], 10);
    let cases: [(&[&str], &str); 5] = [
        (&["--image", "none.png"], "cannot open none.png"),
        (
            &["--image", "text.png"],
            "text.png cannot be used as a picture",
        ),
        (&["--image", "."], ". cannot be used as a picture"),
        (
            &["--image", "start.png", "--strength", "0"],
            "strength must be above 0 and at most 1",
        ),
        (
            &["--image", "start.png", "--strength", "1.5"],
            "strength must be above 0 and at most 1",
        ),
    ];
    for (more, expected) in cases {
        let told = complaint(&folder, &[&["generate", "a star"][..], more].concat());
        assert!(told.contains(expected), "{told}");
    }
    let alone = usage(&folder, &["generate", "a star", "--strength", "0.5"]);
    assert!(alone.contains("--image"), "{alone}");
    assert_eq!(names(&folder), ["start.png", "text.png"]);
}

#[test]
fn an_edit_takes_things_from_every_reference_in_their_order() {
    let folder = folder();
    put(&folder, "a.png", [48, 32], 250);
    put(&folder, "b.png", [32, 32], 120);
    put(&folder, "c.png", [32, 48], 10);
    let model = model("kontext");
    let edit = |references: &[&str], output: &str| {
        let fixed = ["edit", "a.png", "put them together", "--model", &model];
        let said = ["--seed", "1", "--steps", "2", "-o", output];
        let references = references.iter().flat_map(|file| ["--reference", file]);
        let arguments: Vec<&str> = fixed.into_iter().chain(said).chain(references).collect();
        printed(&folder, &arguments);
        picture(&folder, output)
    };
    let alone = edit(&[], "alone.png");
    let drawn = [
        edit(&["b.png"], "b-too.png"),
        edit(&["b.png", "c.png"], "both.png"),
        edit(&["c.png", "b.png"], "other-way-round.png"),
    ];
    for (index, picture) in drawn.iter().enumerate() {
        assert_eq!(picture.dimensions(), alone.dimensions(), "the first's size");
        assert!(*picture != alone);
        assert!(!drawn[..index].contains(picture), "{index}");
    }
    let again = edit(&["b.png", "c.png", "b.png"], "most.png");
    assert!(!drawn.contains(&again));
}

#[test]
fn references_that_cannot_be_used_are_said_and_nothing_is_drawn() {
    let folder = folder();
    std::fs::write(folder.path().join("text.png"), "hello").expect("a file");
    put(&folder, "a.png", [32, 32], 10);
    let [kontext, schnell] = [model("kontext"), model("schnell")];
    let edit = |model: &str, references: &[&str]| {
        let fixed = ["edit", "a.png", "x", "--steps", "1", "--model", model];
        let references = references.iter().flat_map(|file| ["--reference", file]);
        complaint(
            &folder,
            &fixed.into_iter().chain(references).collect::<Vec<_>>(),
        )
    };
    let missing = edit(&kontext, &["a.png", "none.png"]);
    assert!(missing.contains("cannot open none.png"), "{missing}");
    let text = edit(&kontext, &["text.png"]);
    assert!(
        text.contains("text.png cannot be used as a picture"),
        "{text}"
    );
    let many = edit(&kontext, &["a.png"; 4]);
    assert!(many.contains("at most 4 reference pictures"), "{many}");
    let other = edit(&schnell, &["a.png"]);
    assert!(other.contains("editing needs a Kontext model"), "{other}");
    assert_eq!(names(&folder), ["a.png", "text.png"]);
}
