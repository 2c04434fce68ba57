//! Resizing against Pillow's own results (`tools/golden/vision.py` writes them).

use image::RgbImage;
use safetensors::SafeTensors;
use tintype_pixels::{Dimensions, Filter, resize};

fn picture(file: &SafeTensors<'_>, name: &str) -> RgbImage {
    let view = file.tensor(name).expect("a golden picture");
    let (height, width) = (view.shape()[0] as u32, view.shape()[1] as u32);
    RgbImage::from_raw(width, height, view.data().to_vec()).expect("three bytes a pixel")
}

fn filter(name: &str) -> Filter {
    let number = match name {
        "lanczos" => 1,
        "bilinear" => 2,
        "bicubic" => 3,
        "box" => 4,
        "hamming" => 5,
        other => panic!("no filter {other}"),
    };
    Filter::of_number(number).expect("a filter")
}

#[test]
fn every_filter_gives_pillows_bytes() {
    let file = SafeTensors::deserialize(include_bytes!("resize.safetensors")).expect("golden file");
    let (mut compared, mut wrong) = (0, Vec::new());
    for name in file.names() {
        let parts: Vec<&str> = name.split('.').collect();
        let [index, filter_name, _] = parts[..] else {
            continue;
        };
        let expected = picture(&file, name);
        let size = Dimensions {
            width: expected.width(),
            height: expected.height(),
        };
        let source = picture(&file, &format!("{index}.source"));
        let resized = resize(&source, size, filter(filter_name));
        let differing = resized.iter().zip(expected.iter()).filter(|(a, b)| a != b);
        let differing = differing.count();
        if differing > 0 {
            wrong.push(format!("{name}: {differing} bytes"));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(compared >= 20, "{compared} pictures compared");
}

#[test]
fn the_nearest_pixel_is_no_filter() {
    assert_eq!(Filter::of_number(0), None);
    assert_eq!(Filter::of_number(6), None);
}
