//! Which components are held at a time changes no picture, and none is loaded without need.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;
use tintype_compute::CpuDevice;
use tintype_flux::pipeline::{Error, LoadOptions, ModelFiles, Pipeline, Request, Residency};
use tintype_flux::size::Size;

fn open(case: &str, residency: Residency) -> Pipeline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = ModelFiles::Directory(folder.join(case).join("model"));
    let options = LoadOptions {
        residency,
        ..LoadOptions::default()
    };
    Pipeline::open_with(&options, &files, Arc::new(CpuDevice::new(1))).expect("a model")
}

fn request(prompt: &str) -> Request {
    Request {
        steps: Some(2),
        ..Request::new(prompt, 42, Size::new(48, 32))
    }
}

fn draw(pipeline: &Pipeline, request: &Request) -> RgbImage {
    let mut run = pipeline.start(request).expect("a run");
    while !run.is_done() {
        run.step().expect("finite numbers");
        run.preview(32);
    }
    let finished = run.finish().expect("a picture");
    finished.pictures.into_iter().next().expect("one")
}

/// Pictures of a prompt, of the same again, of another and of both in turn, and the components that were
/// loaded until each was there.
fn life(residency: Residency) -> (Vec<RgbImage>, Vec<u64>) {
    let pipeline = open("dev", residency);
    let guided = Request {
        true_cfg: Some(2.0),
        negative_prompt: Some("a blue square".to_owned()),
        ..request("a red circle")
    };
    let requests = [
        request("a red circle"),
        request("a red circle"),
        request("a green square"),
        request("a red circle"),
        guided,
    ];
    let drawn = requests.iter().map(|request| {
        let picture = draw(&pipeline, request);
        (picture, pipeline.loads())
    });
    drawn.unzip()
}

#[test]
fn staged_pictures_are_those_of_the_resident_model_bit_for_bit() {
    let (pictures, loads) = life(Residency::Resident);
    assert_eq!(loads, [4; 5], "once each, at the start");
    let (apart, loads) = life(Residency::TextApart);
    assert!(apart == pictures);
    // Two text encoders, transformer and VAE; nothing; encoders and transformer; nothing; both again.
    assert_eq!(loads, [4, 4, 7, 7, 10]);
    let (one_by_one, loads) = life(Residency::OneByOne);
    assert!(one_by_one == pictures);
    // What follows is the transformer and the VAE each time, the encoders for prompts that are new.
    assert_eq!(loads, [4, 6, 10, 12, 16]);
}

#[test]
fn a_reference_is_encoded_the_same_however_little_is_held() {
    let reference = RgbImage::from_fn(40, 40, |x, y| image::Rgb([x as u8, y as u8, 128]));
    let mut edit = Request {
        size: Size::new(48, 48),
        ..request("make it blue")
    };
    edit.items[0].references = vec![reference];
    let resident = draw(&open("kontext", Residency::Resident), &edit);
    for residency in [Residency::TextApart, Residency::OneByOne] {
        assert!(draw(&open("kontext", residency), &edit) == resident);
    }
}

#[test]
fn a_load_is_told_of_and_can_be_stopped_at_any_tensor() {
    let pipeline = open("schnell", Residency::TextApart);
    let looks = Arc::new(AtomicU64::new(0));
    let count = looks.clone();
    pipeline.watch_loads(Some(Arc::new(move |loading| {
        assert!(loading.bytes.taken_bytes <= loading.bytes.total_bytes);
        assert!(loading.bytes.total_bytes > 0, "{loading:?}");
        count.fetch_add(1, Ordering::Relaxed);
        match loading.component {
            "transformer" if loading.bytes.taken_bytes > loading.bytes.total_bytes / 2 => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    })));
    let stopped = pipeline.start(&request("a red circle"));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert_eq!(pipeline.loads(), 2, "the text encoders alone");
    assert!(looks.load(Ordering::Relaxed) > 10);
    pipeline.watch_loads(None);
    let picture = draw(&pipeline, &request("a red circle"));
    let resident = open("schnell", Residency::Resident);
    assert!(picture == draw(&resident, &request("a red circle")));
}

/// A model's peaks as its workspace saw them and as they were foretold: weights are counted to the byte of
/// the packed layers, work within a factor of two.
#[test]
fn what_a_model_takes_is_known_before_it_is_loaded() {
    for case in ["dev", "schnell", "kontext"] {
        let mut wanted = request("a red circle");
        wanted.size = Size::new(256, 192);
        wanted.max_sequence_length = Some(16);
        let Room { measured, foretold } = room_of(case, &wanted);
        assert!(measured <= foretold, "{case}: {measured}, {foretold}");
        assert!(2 * measured >= foretold, "{case}: {measured}, {foretold}");
    }
}

/// Bytes that a request takes beside the weights.
struct Room {
    measured: u64,
    foretold: u64,
}

fn room_of(case: &str, wanted: &Request) -> Room {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = ModelFiles::Directory(folder.join(case).join("model"));
    // A device of its own, so that the peak is this request's.
    let device = Arc::new(CpuDevice::in_f32(1));
    let pipeline = Pipeline::open(&files, device.clone()).expect("a model");
    let footprint = pipeline.footprint().expect("its headers");
    let work = pipeline.work_of(wanted).expect("it can be run");
    draw(&pipeline, wanted);
    Room {
        measured: device.workspace().used_bytes_peak as u64,
        foretold: footprint.work_bytes(&work),
    }
}

/// A picture with something of everything in it.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 128]))
}

/// Requests that take more than one plain picture does, each in a way of its own.
fn larger_requests(case: &str) -> Vec<(&'static str, Request)> {
    let plain = Request {
        size: Size::new(160, 96),
        max_sequence_length: Some(16),
        ..request("a red circle")
    };
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = plain.clone();
        change(&mut request);
        request
    };
    let mut found = vec![
        ("three pictures", with(&|r| r.pictures_each = 3)),
        (
            "two prompts",
            with(&|r| {
                r.items
                    .push(Request::new("a blue star", 7, r.size).items.remove(0))
            }),
        ),
        (
            "a negative prompt",
            with(&|r| r.negative_prompt = Some("a blue square".to_owned())),
        ),
    ];
    if case == "kontext" {
        let reference = |count| {
            with(&move |r: &mut Request| {
                r.resize_reference = false;
                r.items[0].references = vec![picture(160, 96); count];
            })
        };
        found.push(("a reference", reference(1)));
        found.push(("three references", reference(3)));
    } else {
        found.push((
            "a picture to start from",
            with(&|r| r.items[0].start = Some(picture(160, 96))),
        ));
    }
    found
}

#[test]
fn what_a_request_takes_is_known_before_it_runs() {
    for case in ["dev", "kontext"] {
        for (name, wanted) in larger_requests(case) {
            let Room { measured, foretold } = room_of(case, &wanted);
            println!("{case}, {name}: {measured} of {foretold}");
            assert!(
                measured <= foretold,
                "{case}, {name}: {measured}, {foretold}"
            );
            assert!(
                3 * measured >= foretold,
                "{case}, {name}: {measured}, {foretold}"
            );
        }
    }
}

#[test]
fn a_model_is_held_in_another_way_from_one_request_to_the_next() {
    let pipeline = open("dev", Residency::Resident);
    let footprint = pipeline.footprint().expect("headers");
    let held = || pipeline.held_bytes(&footprint);
    let expected = draw(&pipeline, &request("a red circle"));
    assert_eq!(held(), footprint.weights_bytes(Residency::Resident));
    let other = draw(&open("dev", Residency::Resident), &request("a blue square"));
    for residency in [
        Residency::TextApart,
        Residency::OneByOne,
        Residency::Resident,
    ] {
        pipeline.hold(residency);
        assert!(held() <= footprint.weights_bytes(residency), "{residency}");
        assert!(
            draw(&pipeline, &request("a red circle")) == expected,
            "{residency}"
        );
        assert!(held() <= footprint.weights_bytes(residency), "{residency}");
    }
    assert!(draw(&pipeline, &request("a blue square")) == other);
    assert_eq!(held(), footprint.weights_bytes(Residency::Resident));
}

#[test]
fn a_limit_decides_how_a_model_is_held() {
    let pipeline = open("dev", Residency::OneByOne);
    let (footprint, work) = (
        pipeline.footprint().expect("headers"),
        pipeline.usual_work(),
    );
    assert_eq!(pipeline.loads(), 0, "nothing is loaded for it");
    let [resident, apart, least] =
        Residency::ALL.map(|residency| footprint.peak_bytes(residency, &work));
    assert!(
        resident > apart && apart > least,
        "{resident}, {apart}, {least}"
    );
    let within = |limit| footprint.residency_within(limit, &work);
    assert_eq!(within(resident), Some(Residency::Resident));
    assert_eq!(within(resident - 1), Some(Residency::TextApart));
    assert_eq!(within(apart - 1), Some(Residency::OneByOne));
    assert_eq!(within(least - 1), None);
}

/// What a limit says of the VAE's bound is true of a model that is opened with it.
#[test]
fn with_the_bound_that_a_limit_leaves_the_request_fits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dev/model");
    let files = ModelFiles::Directory(folder);
    let device = Arc::new(CpuDevice::in_f32(2));
    let prepared = |vae_memory_bytes| {
        let options = LoadOptions {
            vae_memory_bytes,
            ..LoadOptions::default()
        };
        Pipeline::prepare(&options, &files, device.clone()).expect("a model")
    };
    let wanted = Request {
        size: Size::new(512, 512),
        ..request("a red circle")
    };
    let least = |pipeline: &Pipeline| {
        let work = pipeline.work_of(&wanted).expect("it can be run");
        let footprint = pipeline.footprint().expect("headers");
        (
            footprint.peak_bytes(Residency::OneByOne, &work),
            footprint,
            work,
        )
    };
    let (limit, ..) = least(&prepared(Some(0)));
    let (unbounded, footprint, work) = least(&prepared(None));
    assert!(limit < unbounded, "{limit}, {unbounded}");
    let bound = footprint.vae_bound_within(limit, &work).expect("one");
    let (bounded, ..) = least(&prepared(Some(bound as usize)));
    assert!(bounded <= limit, "{bounded}, {limit}");
    assert_eq!(footprint.vae_bound_within(limit - 1, &work), None);
}
