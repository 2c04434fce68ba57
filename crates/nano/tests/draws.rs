//! The model that ships with the program does both jobs: it draws, and it edits.

use std::sync::{Arc, LazyLock};

use image::{Rgb, RgbImage};
use tintype_compute::CpuDevice;
use tintype_flux::pipeline::{Kind, Pipeline, Request};
use tintype_flux::size::{Ratio, Size, Table};

/// Enough to end in a picture; how good it is, the recipe's judge says.
const STEPS: u32 = 2;

static NANO: LazyLock<Pipeline> = LazyLock::new(|| {
    Pipeline::open(&tintype_nano::model(), Arc::new(CpuDevice::new(2))).expect("nano loads")
});

fn draw(request: &Request) -> RgbImage {
    let mut run = NANO.start(request).expect("a good request");
    while !run.is_done() {
        run.step().expect("finite numbers");
    }
    let finished = run.finish().expect("all steps are done");
    finished.pictures.into_iter().next().expect("one picture")
}

fn request(prompt: &str, seed: u64, size: Size) -> Request {
    Request {
        steps: Some(STEPS),
        ..Request::new(prompt, seed, size)
    }
}

/// The size that the model was made for.
fn square() -> Size {
    let native = NANO.settings().native;
    native.size_for(Ratio::new(1, 1), Table::Kontext)
}

/// How many different colours a picture has: a model that failed paints one.
fn colours(picture: &RgbImage) -> usize {
    let mut colours: Vec<[u8; 3]> = picture.pixels().map(|p| p.0).collect();
    colours.sort_unstable();
    colours.dedup();
    colours.len()
}

#[test]
fn the_files_are_a_kontext_model_and_small_enough_to_ship() {
    let bytes: usize = tintype_nano::files().iter().map(|(_, b)| b.len()).sum();
    assert!(bytes <= 24_000_000, "{bytes} bytes");
    assert_eq!(NANO.settings().kind, Kind::Kontext);
    assert_eq!(NANO.settings().name, tintype_nano::NAME);
}

#[test]
fn a_prompt_becomes_a_picture_and_the_seed_decides_which() {
    let size = square();
    let prompt = "a red circle left of a blue square on a white background";
    let picture = draw(&request(prompt, 42, size));
    assert_eq!(picture.dimensions(), (size.width, size.height));
    assert!(colours(&picture) > 16);
    assert!(draw(&request(prompt, 42, size)) == picture);
    assert!(draw(&request(prompt, 43, size)) != picture);
    assert!(draw(&request("a green star", 42, size)) != picture);
}

/// The texts that the service's tools carry as their defaults.
const DOCUMENTED_PROMPTS: [&str; 2] = [
    "Enhance the cookie package with clean lighting and a white background, perfect for \
     e-commerce display.",
    "A quiet, sun-drenched Los Angeles street from a low, eye-level perspective. Tall, slender \
     palm trees line the sidewalk, their fronds swaying gently against a clear, cerulean sky. \
     Vintage streetlights stand sentinel, and the asphalt shimmers with heat. In the distance, \
     the iconic Hollywood Sign is subtly visible between buildings, and the faint outlines of \
     the Hollywood Hills rise beyond. Sunlight casts long, sharp shadows of telephone poles and \
     power lines across the scene. Urban, serene, realistic, street-level view, cinematic \
     lighting, high detail, 8K.",
];

#[test]
fn words_outside_the_language_end_in_a_picture_too() {
    let strange = [
        "",
        "\u{201c}naïve\u{201d} 漢字 🙂 <|endoftext|> </s> \u{0} \u{feff}",
        &"a very long sentence that goes on and on, ".repeat(200),
    ];
    for prompt in DOCUMENTED_PROMPTS.iter().chain(&strange) {
        let picture = draw(&request(prompt, 1, square()));
        let Size { width, height } = square();
        assert_eq!(picture.dimensions(), (width, height), "{prompt}");
    }
}

#[test]
fn all_thirteen_ratios_work_in_both_tables() {
    let ratios = [(1, 1), (16, 9), (4, 3), (3, 2), (5, 4), (21, 9), (2, 1)];
    let native = NANO.settings().native;
    for (a, b) in ratios {
        for (width, height) in [(a, b), (b, a)] {
            for table in [Table::Kontext, Table::Pro] {
                let size = native.size_for(Ratio::new(width, height), table);
                let picture = draw(&request("a yellow triangle", 5, size));
                assert_eq!(picture.dimensions(), (size.width, size.height));
            }
        }
    }
}

#[test]
fn an_edit_depends_on_its_reference() {
    let flat = |colour| RgbImage::from_pixel(300, 200, Rgb(colour));
    let size = NANO.settings().native.bucket_of(Size::new(300, 200));
    let edit = |reference: RgbImage| {
        let mut request = request("make the background black", 7, size);
        request.items[0].references = vec![reference];
        draw(&request)
    };
    let picture = edit(flat([250, 250, 250]));
    assert_eq!(picture.dimensions(), (size.width, size.height));
    assert!(picture != edit(flat([20, 30, 200])));
}
