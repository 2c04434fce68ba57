//! Output files.

use axum::http::Method;

use crate::house::House;

#[tokio::test]
async fn a_picture_comes_with_the_headers_that_browsers_need() {
    let house = House::build().await;
    house.submitted().await;
    let output = house.succeed(&house.claimed().await, b"a picture").await;
    let path = format!("/{}/0.png", output.directory);
    let answer = house.get(&path).await;
    assert_eq!(
        (answer.status.as_u16(), answer.bytes.as_slice()),
        (200, &b"a picture"[..])
    );
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "9"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, max-age=86400, immutable"),
        ("last-modified", "Wed, 18 Dec 2024 09:23:35 GMT"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let tag = answer.header("etag").to_owned();
    let again = house
        .call(Method::GET, &path, &[("if-none-match", &tag)])
        .await;
    assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
    let head = house.call(Method::HEAD, &path, &[]).await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    assert_eq!(
        (head.header("content-type"), head.header("content-length")),
        ("image/png", "9")
    );
    let wrong = house.get(&format!("/{}/1.png", output.directory)).await;
    assert_eq!(wrong.error(), (404, 0, "Error parsing url.".to_owned()));
}
