//! Engines in an order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use image::RgbImage;
use tintype_engine::{
    AbsentEngine, Breaker, BreakerState, Cancellation, Chain, Drawing, Engine, Error, Job, Link,
    Moderated, Picture, ProgressSink, Reason, Stage, StageSeconds, Unavailable,
};

/// Ends every job in the same way, and counts them.
struct Scripted {
    name: &'static str,
    places: usize,
    error: Option<Error>,
    jobs: AtomicUsize,
}

impl Scripted {
    fn new(name: &'static str, error: Option<Error>) -> Arc<Self> {
        Arc::new(Self {
            name,
            places: name.len(),
            error,
            jobs: AtomicUsize::new(0),
        })
    }

    fn jobs(&self) -> usize {
        self.jobs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Engine for Scripted {
    fn model_name(&self) -> &str {
        self.name
    }

    fn places(&self) -> usize {
        self.places
    }

    async fn run(
        &self,
        job: Job,
        _progress: ProgressSink,
        _cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        self.jobs.fetch_add(1, Ordering::SeqCst);
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(Drawing {
                pictures: vec![Picture {
                    image: RgbImage::new(1, 1),
                    file: None,
                }],
                engine_name: self.name.to_owned(),
                model_name: self.name.to_owned(),
                prompt_upsampled: false,
                seed: job.seed,
                steps: 1,
                seconds: StageSeconds::default(),
                remarks: Vec::new(),
            }),
        }
    }
}

fn link(engine: Arc<dyn Engine>) -> Link {
    let breaker = Arc::new(Breaker::new(engine.model_name()));
    Link { engine, breaker }
}

fn chain(engines: &[Arc<Scripted>]) -> Chain {
    let links = engines.iter().map(|engine| link(engine.clone()));
    Chain::new(links.collect(), Instant::now)
}

async fn run(chain: &Chain) -> Result<Drawing, Error> {
    let sink: ProgressSink = Box::new(|_| ());
    chain.run(Job::new("x", 1), sink, Cancellation::new()).await
}

fn unavailable(reason: Reason) -> Option<Error> {
    Some(Unavailable::new(reason, format!("{reason:?}.")).into())
}

#[tokio::test]
async fn what_is_not_available_is_passed_over() {
    for reason in [
        Reason::NoWeights,
        Reason::OverLimits,
        Reason::OutOfCredit,
        Reason::Down,
    ] {
        let engines = [
            Scripted::new("first", unavailable(reason)),
            Scripted::new("second", None),
        ];
        let picture = run(&chain(&engines)).await.expect("a picture");
        assert_eq!(picture.engine_name, "second", "{reason:?}");
    }
    let absent = AbsentEngine::new("/models/x", "there is no folder /models/x");
    let links = vec![link(Arc::new(absent)), link(Scripted::new("second", None))];
    let picture = run(&Chain::new(links, Instant::now))
        .await
        .expect("a picture");
    assert_eq!(picture.engine_name, "second");
}

#[tokio::test]
async fn what_another_engine_would_not_mend_is_not_given_to_it() {
    let moderated = Moderated {
        stage: Stage::Request,
        category: None,
    };
    for error in [
        Error::Rejected("no".to_owned()),
        Error::Moderated(moderated),
        Error::Failed("no".to_owned()),
        Error::Cancelled,
        Unavailable::shutting_down().into(),
    ] {
        let engines = [
            Scripted::new("first", Some(error.clone())),
            Scripted::new("second", None),
        ];
        assert_eq!(run(&chain(&engines)).await.err(), Some(error));
        assert_eq!(engines[1].jobs(), 0);
    }
}

#[tokio::test]
async fn an_engine_that_stays_down_is_left_alone() {
    let engines = [
        Scripted::new("first", unavailable(Reason::Down)),
        Scripted::new("second", None),
    ];
    let chain = chain(&engines);
    for _ in 0..10 {
        run(&chain).await.expect("a picture");
    }
    assert_eq!((engines[0].jobs(), engines[1].jobs()), (3, 10));
}

#[tokio::test]
async fn chains_that_share_an_engine_share_its_breaker() {
    let first = Scripted::new("first", unavailable(Reason::OutOfCredit));
    let shared = link(first.clone());
    let with = |engine| Chain::new(vec![shared.clone(), link(engine)], Instant::now);
    run(&with(Scripted::new("one", None)))
        .await
        .expect("a picture");
    run(&with(Scripted::new("other", None)))
        .await
        .expect("a picture");
    assert_eq!(first.jobs(), 1);
    assert!(matches!(
        shared.breaker.state(Instant::now()),
        BreakerState::Open(_)
    ));
}

#[tokio::test]
async fn when_none_can_draw_it_says_why_and_when_to_come_again() {
    let limits = Unavailable {
        retry_after: Some(Duration::from_secs(9)),
        ..Unavailable::new(Reason::OverLimits, "Too much.")
    };
    let engines = [
        Scripted::new("first", unavailable(Reason::NoWeights)),
        Scripted::new("second", Some(limits.into())),
    ];
    let chain = chain(&engines);
    let Err(Error::Unavailable(why)) = run(&chain).await else {
        panic!("none can draw");
    };
    assert_eq!(
        (why.reason, why.message.as_str()),
        (Reason::OverLimits, "NoWeights. Too much.")
    );
    assert_eq!(why.retry_after, Some(Duration::from_secs(9)));
}

#[test]
fn a_chain_has_the_places_of_the_first_engine_that_is_there() {
    let engines = [Scripted::new("first", None), Scripted::new("second", None)];
    assert_eq!(chain(&engines).places(), 5);
    let absent = AbsentEngine::new("/models/x", "there is no folder /models/x");
    let links = vec![link(Arc::new(absent)), link(engines[1].clone())];
    assert_eq!(Chain::new(links, Instant::now).places(), 6);
}
