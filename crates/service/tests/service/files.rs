//! What can be fetched, and readiness.

use object_store::{ObjectStoreExt, path::Path};
use serde_json::json;
use tintype_service::ServiceError;

use crate::bench::{Bench, draw};

#[tokio::test]
async fn a_finished_picture_is_served_at_its_address() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let task = bench.ended(submitted.task).await;
    let output = &task.outputs[0];
    let file = bench
        .service
        .output_file(&output.directory, &output.name)
        .await;
    let file = file.expect("asked").expect("there");
    assert_eq!(file.content_type, "image/png");
    assert_eq!(file.bytes.len() as u64, output.size_bytes);
    assert_eq!(file.modified_at, output.modified_at);
}

#[tokio::test]
async fn addresses_that_lead_nowhere_lead_nowhere() {
    let bench = Bench::new().await;
    for (directory, name) in [("", ""), ("nowhere", "0.png"), ("..", "secret.key")] {
        assert!(
            bench
                .service
                .output_file(directory, name)
                .await
                .expect("asked")
                .is_none()
        );
    }
}

#[tokio::test]
async fn lost_bytes_are_no_file_and_a_blob_store_in_trouble_is_an_error() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let output = bench.ended(submitted.task).await.outputs.remove(0);
    bench.faults.fail("get", 1);
    let error = bench
        .service
        .output_file(&output.directory, &output.name)
        .await;
    assert!(matches!(error, Err(ServiceError::Blobs(_))));
    bench
        .blobs
        .delete(&Path::from(output.blob_key.as_str()))
        .await
        .expect("deleted");
    let gone = bench
        .service
        .output_file(&output.directory, &output.name)
        .await;
    assert!(gone.expect("asked").is_none());
}

#[tokio::test]
async fn readiness_names_the_store_that_is_not_ready() {
    let bench = Bench::new().await;
    assert!(bench.service.ready().await.is_ok());
    bench.faults.fail("check", 1);
    assert!(matches!(
        bench.service.ready().await,
        Err(ServiceError::Store(_))
    ));
    bench.faults.fail("get", 1);
    assert!(matches!(
        bench.service.ready().await,
        Err(ServiceError::Blobs(_))
    ));
}
