//! What is offered, and what became of it.

use serde_json::json;
use tintype_catalog::ToolQuery;
use tintype_domain::{ToolSlug, ToolStats};
use tintype_service::ServiceError;

use crate::bench::{Bench, draw, edit};

#[tokio::test]
async fn tools_come_with_the_counts_of_their_own_runs() {
    let bench = Bench::new().await;
    let worker = bench.worker();
    let drawn = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    bench.ended(drawn.task).await;
    worker.drain().await;

    let all = ToolQuery {
        limit: usize::MAX,
        ..ToolQuery::default()
    };
    let page = bench
        .service
        .tools(&bench.principal, &all)
        .await
        .expect("tools");
    let counts: Vec<_> = page
        .tools
        .iter()
        .map(|report| (report.number, report.tool.slug(), report.stats.successes))
        .collect();
    assert_eq!(counts, [(1, edit(), 0), (2, draw(), 1)]);

    let report = bench
        .service
        .tool(&bench.principal, &edit())
        .await
        .expect("an answer");
    assert_eq!(
        report.map(|report| report.stats),
        Some(ToolStats::default())
    );
    let nobody = ToolSlug::new("nobody", "nothing");
    assert_eq!(
        bench
            .service
            .tool(&bench.principal, &nobody)
            .await
            .expect("an answer"),
        None
    );
}

#[tokio::test]
async fn a_store_that_cannot_count_is_a_reason_to_try_later() {
    let bench = Bench::new().await;
    bench.faults.fail("tool_stats", 1);
    let refused = bench.service.tool(&bench.principal, &draw()).await;
    assert!(
        matches!(refused, Err(ServiceError::Store(_))),
        "{refused:?}"
    );
    assert!(bench.service.tool(&bench.principal, &draw()).await.is_ok());
}
