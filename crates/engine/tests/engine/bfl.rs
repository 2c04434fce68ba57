//! The provider's engine against a stand-in of the provider.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::{Rgb, RgbImage};
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::SecretString;
use serde_json::{Value, json};
use tintype_engine::bfl::{BflEngine, BflOptions, HostPatterns, Limits, Pace};
use tintype_engine::test_support::{Fetch, Misbehaviour, Poll, StandIn, Submit};
use tintype_engine::{
    Cancellation, Drawing, Engine, Error, FileType, Job, Progress, ProgressSink, Reason, Sampling,
    Size, Stage, StartPicture, Unavailable,
};

const KEY: &str = "a-key-that-nobody-may-see";
const MS: Duration = Duration::from_millis(1);

/// So fast that no test waits; calls have the time of a busy machine.
fn pace() -> Pace {
    Pace {
        poll: (MS, 5 * MS),
        retry: (MS, 5 * MS),
        patience_with_limits: 500 * MS,
        ..Pace::default()
    }
}

fn options(stand_in: &StandIn) -> BflOptions {
    BflOptions {
        base_url: stand_in.url().parse().expect("an address"),
        key: SecretString::from(KEY),
        polling_hosts: HostPatterns::default(),
        result_hosts: HostPatterns::default(),
        limits: Limits::default(),
        pace: pace(),
    }
}

fn engine_with(options: BflOptions) -> Arc<BflEngine> {
    Arc::new(BflEngine::start(options, StdRng::seed_from_u64(1)).expect("an engine"))
}

fn pro() -> Job {
    Job {
        tool: Some("black-forest-labs/flux-pro-1.1".to_owned()),
        size: Size::Ratio {
            width: 9,
            height: 16,
        },
        safety_tolerance: Some(2),
        ..Job::new("a street", 42)
    }
}

fn kontext(reference: Option<RgbImage>) -> Job {
    Job {
        tool: Some("black-forest-labs/flux-kontext-max".to_owned()),
        size: Size::MatchReference,
        file_type: FileType::Jpeg,
        safety_tolerance: Some(6),
        prompt_upsampling: true,
        references: reference.into_iter().collect(),
        ..Job::new("make it night", 7)
    }
}

fn silent() -> ProgressSink {
    Box::new(|_| ())
}

async fn run(engine: &BflEngine, job: Job) -> Result<Drawing, Error> {
    engine.run(job, silent(), Cancellation::new()).await
}

async fn unavailable(engine: &BflEngine, job: Job) -> Unavailable {
    match run(engine, job).await {
        Err(Error::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn failure(engine: &BflEngine) -> String {
    match run(engine, pro()).await {
        Err(Error::Failed(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_is_carried_over_and_the_file_comes_back_as_it_was() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    let picture = run(&engine, pro()).await.expect("a picture");
    let [drawn] = picture.pictures.as_slice() else {
        panic!("{picture:?}");
    };
    let file = drawn.file.clone().expect("a file");
    assert_eq!(
        (file.file_type, file.bytes),
        (FileType::Png, StandIn::file("png").into())
    );
    assert_eq!(drawn.image.dimensions(), (96, 64));
    assert_eq!(
        (
            picture.engine_name.as_str(),
            picture.model_name.as_str(),
            picture.seed
        ),
        ("bfl", "flux-pro-1.1", 4242)
    );
    let reference = RgbImage::from_pixel(30, 20, Rgb([1, 2, 3]));
    let edited = run(&engine, kontext(Some(reference)))
        .await
        .expect("a picture");
    let file = edited.pictures[0].file.as_ref().expect("a file");
    assert_eq!(file.file_type, FileType::Jpeg);
    assert!(edited.prompt_upsampled);

    let mut orders = stand_in.orders();
    let sent = orders[1].1["input_image"].take();
    assert!(
        sent.as_str().expect("base64").starts_with("iVBORw0KGgo"),
        "a PNG file"
    );
    assert_eq!(
        orders,
        [
            (
                "flux-pro-1.1".to_owned(),
                json!({
                    "prompt": "a street", "seed": 42, "width": 768, "height": 1376,
                    "output_format": "png", "prompt_upsampling": false, "safety_tolerance": 2,
                })
            ),
            (
                "flux-kontext-max".to_owned(),
                json!({
                    "prompt": "make it night", "seed": 7, "input_image": null,
                    "output_format": "jpeg", "prompt_upsampling": true, "safety_tolerance": 6,
                })
            ),
        ]
    );
    let square = Job {
        size: Size::Ratio {
            width: 1,
            height: 1,
        },
        ..kontext(None)
    };
    run(&engine, square).await.expect("a picture");
    assert_eq!(stand_in.orders()[2].1["aspect_ratio"], "1:1");
}

#[tokio::test]
async fn the_key_goes_to_the_api_and_not_to_the_pictures() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    run(&engine, pro()).await.expect("a picture");
    let keys: Vec<_> = stand_in
        .calls()
        .into_iter()
        .map(|call| (call.path, call.key))
        .collect();
    let key = Some(KEY.to_owned());
    let expected = [
        ("/v1/flux-pro-1.1", key.clone()),
        ("/v1/get_result", key),
        ("/results", None),
    ];
    assert_eq!(keys, expected.map(|(path, key)| (path.to_owned(), key)));
    let shown = format!("{engine:?} {:?}", options(&stand_in));
    assert!(!shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn states_become_progress_that_only_grows() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    for status in [
        "Task not found",
        "Pending",
        "Reasoning",
        "Generating",
        "Pondering",
        "Pending",
    ] {
        stand_in.poll(Poll::Status(status, json!({ "progress": 0.5 })));
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let sink: ProgressSink = Box::new(move |progress| {
        sink.lock().expect("no panic").push(match progress {
            Progress::Started => 0,
            Progress::Step { step, steps: 100 } => step,
            other => panic!("{other:?}"),
        });
    });
    engine
        .run(pro(), sink, Cancellation::new())
        .await
        .expect("a picture");
    assert_eq!(*seen.lock().expect("no panic"), [0, 5, 10, 20, 60, 95, 100]);
}

#[tokio::test]
async fn moderation_of_both_stages_is_told_apart() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    for (status, stage) in [
        ("Request Moderated", Stage::Request),
        ("Content Moderated", Stage::Content),
    ] {
        let details = json!({ "details": { "Moderation Reasons": ["Violence"] } });
        stand_in.poll(Poll::Status(status, details));
        let Err(Error::Moderated(moderated)) = run(&engine, pro()).await else {
            panic!("it is moderated");
        };
        assert_eq!(
            (moderated.stage, moderated.category.as_deref()),
            (stage, Some("Violence"))
        );
    }
    assert_eq!(stand_in.orders().len(), 2, "no further order");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_ordered_once() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    let error = |status| Misbehaviour::Status(status, json!({}));
    stand_in.submit(Submit::Else(error(500)));
    stand_in.submit(Submit::Else(error(503)));
    for misbehaviour in [
        error(500),
        error(404),
        Misbehaviour::Malformed,
        Misbehaviour::Busy(None),
        Misbehaviour::Busy(Some("0")),
        Misbehaviour::Redirect("http://169.254.169.254/".to_owned()),
    ] {
        stand_in.poll(Poll::Else(misbehaviour));
    }
    for fetch in [Fetch::Truncated, Fetch::Page] {
        stand_in.fetch(fetch);
    }
    run(&engine, pro()).await.expect("a picture");
    assert_eq!(stand_in.orders().len(), 1);
}

#[tokio::test]
async fn an_expired_address_is_asked_for_afresh() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    stand_in.fetch(Fetch::Else(Misbehaviour::Status(403, json!({}))));
    run(&engine, pro()).await.expect("a picture");
    let polls = stand_in
        .calls()
        .into_iter()
        .filter(|call| call.path == "/v1/get_result");
    assert_eq!((polls.count(), stand_in.orders().len()), (2, 1));
}

#[tokio::test]
async fn a_picture_that_stays_bad_fails_with_what_is_wrong_with_it() {
    for (fetch, expected) in [
        (
            Fetch::Page,
            "the provider's picture is neither a PNG nor a JPEG file",
        ),
        (Fetch::Truncated, "the provider's picture cannot be opened"),
    ] {
        let stand_in = StandIn::start().await;
        let engine = engine_with(options(&stand_in));
        for _ in 0..3 {
            stand_in.fetch(fetch.clone());
        }
        let reason = failure(&engine).await;
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(stand_in.orders().len(), 1);
    }
}

#[tokio::test]
async fn an_order_that_is_out_of_reach_is_asked_for_again_and_not_placed_again() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    for _ in 0..6 {
        stand_in.poll(Poll::Else(Misbehaviour::Status(502, json!({}))));
    }
    let job = pro();
    let why = unavailable(&engine, job.clone()).await;
    assert_eq!(why.reason, Reason::Down);
    assert_eq!(
        why.message,
        "The provider answers with status 502. Try again later."
    );
    run(&engine, job)
        .await
        .expect("the picture of the first order");
    assert_eq!(stand_in.orders().len(), 1);
}

#[tokio::test]
async fn nobody_is_sent_where_a_lying_provider_points() {
    let inside = "http://127.0.0.1:9/latest/meta-data?token=hush";
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    stand_in.submit(Submit::AskAt(inside.to_owned()));
    let reason = failure(&engine).await;
    assert!(
        reason.contains("127.0.0.1") && reason.contains("polling_hosts"),
        "{reason}"
    );
    stand_in.poll(Poll::ReadyAt(inside.to_owned()));
    let elsewhere = failure(&engine).await;
    assert!(elsewhere.contains("result_hosts"), "{elsewhere}");
    assert!(!format!("{reason}{elsewhere}").contains("hush"));
    for _ in 0..3 {
        stand_in.submit(Submit::Else(Misbehaviour::Redirect(inside.to_owned())));
    }
    let why = unavailable(&engine, pro()).await;
    assert!(why.message.contains("status 302"), "{why}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    let refuse = |status: u16, body: Value| {
        stand_in.submit(Submit::Else(Misbehaviour::Status(status, body)));
    };
    refuse(402, json!({ "detail": "Insufficient credits" }));
    let why = unavailable(&engine, pro()).await;
    assert_eq!(why.reason, Reason::OutOfCredit);
    assert!(why.message.contains("run out of credits"), "{why}");
    for status in [401, 403] {
        refuse(status, json!({ "detail": "Not authenticated" }));
        let why = unavailable(&engine, pro()).await;
        assert_eq!(why.reason, Reason::OutOfCredit);
        assert!(why.message.contains("does not accept the key"), "{why}");
    }
    refuse(404, json!({}));
    assert_eq!(unavailable(&engine, pro()).await.reason, Reason::NoWeights);
    let detail = json!([{ "loc": ["body", "seed"], "msg": "too large", "input": "hush" }]);
    refuse(422, json!({ "detail": detail }));
    match run(&engine, pro()).await {
        Err(Error::Rejected(reason)) => {
            assert_eq!(
                reason,
                "The provider does not accept the inputs (seed: too large)."
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stand_in.calls().len(), 5, "none was tried again");
    stand_in.submit(Submit::Else(Misbehaviour::Malformed));
    let why = unavailable(&engine, pro()).await;
    assert_eq!(
        (why.reason, why.retry_after.is_some()),
        (Reason::Down, true)
    );
    assert_eq!(stand_in.calls().len(), 6, "it may have been an order");
    let unknown = Job {
        tool: Some("somebody/else".to_owned()),
        ..pro()
    };
    assert_eq!(
        unavailable(&engine, unknown).await.reason,
        Reason::NoWeights
    );
}

#[tokio::test]
async fn limits_are_waited_for_and_then_named() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    for wait in [None, Some("0"), Some("Sun, 06 Nov 1994 08:49:37 GMT")] {
        stand_in.submit(Submit::Else(Misbehaviour::Busy(wait)));
    }
    run(&engine, pro()).await.expect("a picture");
    stand_in.submit(Submit::Else(Misbehaviour::Busy(Some("30"))));
    let why = unavailable(&engine, pro()).await;
    let wait = Some(Duration::from_secs(30));
    assert_eq!((why.reason, why.retry_after), (Reason::OverLimits, wait));
}

#[tokio::test]
async fn no_more_is_ordered_at_a_time_than_the_provider_allows() {
    let stand_in = StandIn::start().await;
    let options = BflOptions {
        limits: Limits {
            active: 5,
            active_kontext_max: 2,
        },
        ..options(&stand_in)
    };
    let engine = engine_with(options);
    assert_eq!(engine.places(), 5);
    let jobs = (0..24).map(|number| {
        if number % 2 == 0 {
            pro()
        } else {
            kontext(None)
        }
    });
    let jobs: Vec<_> = jobs
        .map(|job| {
            let engine = engine.clone();
            tokio::spawn(async move { run(&engine, job).await })
        })
        .collect();
    for job in jobs {
        job.await.expect("no panic").expect("a picture");
    }
    assert_eq!(stand_in.orders().len(), 24);
    let (pro, kontext) = (
        stand_in.peak("flux-pro-1.1"),
        stand_in.peak("flux-kontext-max"),
    );
    assert!(
        (1..=2).contains(&kontext) && (1..=5).contains(&pro),
        "{pro}, {kontext}"
    );
}

#[tokio::test]
async fn a_cancelled_job_stops_at_once_even_in_the_middle_of_a_call() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    stand_in.submit(Submit::Else(Misbehaviour::Hang));
    let cancellation = Cancellation::new();
    let job = tokio::spawn({
        let (engine, cancellation) = (engine.clone(), cancellation.clone());
        async move { engine.run(pro(), silent(), cancellation).await }
    });
    while stand_in.calls().is_empty() {
        tokio::time::sleep(MS).await;
    }
    cancellation.cancel();
    let ended = job.await.expect("no panic");
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    run(&engine, pro()).await.expect("its place is free again");
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up() {
    let stand_in = StandIn::start().await;
    let pace = Pace {
        call: 20 * MS,
        ..pace()
    };
    let options = BflOptions {
        pace,
        ..options(&stand_in)
    };
    let engine = engine_with(options);
    for _ in 0..3 {
        stand_in.submit(Submit::Else(Misbehaviour::Hang));
    }
    let why = unavailable(&engine, pro()).await;
    assert_eq!(why.reason, Reason::Down);
    assert!(why.message.contains("does not answer in time"), "{why}");

    stand_in.keep_pending(true);
    let pace = Pace {
        whole_job: 50 * MS,
        ..self::pace()
    };
    let options = BflOptions {
        pace,
        ..self::options(&stand_in)
    };
    let why = unavailable(&engine_with(options), pro()).await;
    assert_eq!(
        why.message,
        "The provider did not finish the picture within 50ms."
    );
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_named_as_that() {
    let stand_in = StandIn::start().await;
    let options = options(&stand_in);
    drop(stand_in);
    let why = unavailable(&engine_with(options), pro()).await;
    assert_eq!(why.reason, Reason::Down);
}

#[tokio::test]
async fn an_error_of_the_provider_and_a_lost_job_are_failures_with_a_reason() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    stand_in.poll(Poll::Status(
        "Error",
        json!({ "details": { "error": "no memory" } }),
    ));
    assert_eq!(
        failure(&engine).await,
        "the provider could not draw it: no memory"
    );
    for _ in 0..7 {
        stand_in.poll(Poll::Status("Task not found", json!({})));
    }
    let lost = "the provider does not know of the job any more";
    assert_eq!(failure(&engine).await, lost);
}

#[tokio::test]
async fn what_the_provider_does_not_do_is_refused_or_remarked_upon() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    type Change = fn(&mut Job);
    let refused: [(&str, Change); 4] = [
        ("one picture a task", |job| job.pictures = 2),
        ("from the prompt alone", |job| {
            job.start = Some(StartPicture {
                image: RgbImage::new(8, 8),
                strength: None,
            });
        }),
        ("no negative prompt", |job| {
            job.sampling.negative_prompt = Some("rain".to_owned());
        }),
        ("no negative prompt", |job| {
            job.sampling.true_cfg = Some(2.0);
        }),
    ];
    for (expected, change) in refused {
        let mut job = pro();
        change(&mut job);
        match run(&engine, job).await {
            Err(Error::Rejected(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stand_in.orders(), [], "nothing was ordered");
    let mut job = pro();
    job.sampling = Sampling {
        steps: Some(9),
        guidance: Some(3.0),
        ..Sampling::default()
    };
    job.defaults.shift = Some(3.0);
    let drawing = run(&engine, job).await.expect("a picture");
    let remark = "The provider chooses this by itself: steps, guidance.";
    assert_eq!(drawing.remarks, [remark]);
}

#[tokio::test]
async fn further_reference_pictures_are_sent_in_their_order() {
    let stand_in = StandIn::start().await;
    let engine = engine_with(options(&stand_in));
    let job = Job {
        references: (1..=3).map(|side| RgbImage::new(side, side)).collect(),
        ..kontext(None)
    };
    run(&engine, job).await.expect("a picture");
    let order = stand_in.orders().remove(0).1;
    let sent = ["input_image", "input_image_2", "input_image_3"].map(|name| order[name].as_str());
    assert!(sent.iter().all(Option::is_some), "{order}");
    assert!(sent[0] != sent[1] && sent[1] != sent[2]);
    assert!(order.get("input_image_4").is_none());
}
