//! Fetching: redirects, bounds, and servers that lie.

use super::*;

#[tokio::test]
async fn a_picture_is_fetched_also_behind_a_redirect() {
    let there = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(fetched(&there).await, Ok(Bytes::from_static(b"hello")));
    let elsewhere = server(redirect(&there)).await;
    assert_eq!(fetched(&elsewhere).await, Ok(Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn a_redirect_does_not_lead_to_where_the_client_may_not_go() {
    for (location, host) in [
        ("http://127.0.0.2:9/secret", "127.0.0.2"),
        ("http://localhost:9/secret", "localhost"),
        ("//169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://[::1]/", "[::1]"),
        ("http://0x7f000002/", "127.0.0.2"),
    ] {
        let elsewhere = server(redirect(location)).await;
        assert_eq!(refused(&client(), &elsewhere).await, host, "{location}");
        let twice = server(redirect(&elsewhere)).await;
        assert_eq!(refused(&client(), &twice).await, host, "{location}");
    }
}

#[tokio::test]
async fn redirects_stay_with_http_and_come_to_an_end() {
    for location in [
        "file:///etc/passwd",
        "ftp://192.0.2.1/a",
        "gopher://127.0.0.1:6379/_x",
        "data:image/png;base64,AAAA",
        "javascript:1",
        "http://",
    ] {
        let elsewhere = server(redirect(location)).await;
        let expected = GuardedError::Address.to_string();
        assert_eq!(fetched(&elsewhere).await, Err(expected), "{location}");
    }
    let in_a_circle = server(redirect("/again")).await;
    let expected = "127.0.0.1 redirects too often.";
    assert_eq!(fetched(&in_a_circle).await, Err(expected.to_owned()));
}

#[tokio::test]
async fn errors_of_the_server_are_told() {
    let missing = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let missing = fetched(&missing).await;
    assert_eq!(
        missing,
        Err("127.0.0.1 answered with status 404.".to_owned())
    );
    let broken = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    let expected = "127.0.0.1 broke off in the middle of the answer.";
    assert_eq!(fetched(&broken).await, Err(expected.to_owned()));
    let (listener, nobody) = listen().await;
    drop(listener);
    let expected = "127.0.0.1 cannot be reached. Check the address.";
    assert_eq!(fetched(&nobody).await, Err(expected.to_owned()));
}

#[tokio::test]
async fn errors_name_the_host_and_nothing_else_of_the_address() {
    let (listener, nobody) = listen().await;
    drop(listener);
    let nobody = nobody.replace("http://", "http://user:hush@") + "/hush?token=hush#hush";
    for address in [
        nobody.as_str(),
        "http://user:hush@10.0.0.1/hush?hush",
        "hush",
    ] {
        let error = client().get(address, &limits()).await.expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn no_more_is_read_than_is_allowed() {
    let too_large = Err("127.0.0.1 sends more than 1 MB.".to_owned());
    let announced = server("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
    assert_eq!(fetched(&announced).await, too_large);
    let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    answer.resize(answer.len() + 1024 * 1024 + 1, b'x');
    assert_eq!(fetched(&server(answer).await).await, too_large);
}

#[tokio::test]
async fn a_body_that_is_longer_than_announced_ends_where_it_said() {
    let liar = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello").await;
    assert_eq!(fetched(&liar).await, Ok(Bytes::from_static(b"he")));
}

#[tokio::test]
async fn a_chunk_that_claims_to_be_huge_takes_no_memory() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffff\r\nx";
    let expected = "127.0.0.1 broke off in the middle of the answer.";
    let liar = server(answer).await;
    assert_eq!(fetched(&liar).await, Err(expected.to_owned()));
}

#[tokio::test]
async fn what_is_compressed_stays_compressed() {
    // Eleven bytes of gzip that would not even open.
    let answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 11\r\n\r\n\x1f\x8b\x08bombbombs".to_vec();
    let got = fetched(&server(answer).await).await.expect("the bytes");
    assert_eq!(&got[..], b"\x1f\x8b\x08bombbomb");
}

#[tokio::test]
async fn no_encoding_is_asked_for() {
    let (listener, address) = listen().await;
    let (head, _) = tokio::join!(
        async {
            let (mut connection, _) = listener.accept().await.expect("a call");
            read_head(&mut connection).await
        },
        fetched(&address)
    );
    assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
}

/// Accepts one call, sends the beginning of an answer, then a byte now and then for ever.
async fn drip(start: &'static str) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("a call");
        read_head(&mut connection).await;
        drop(connection.write_all(start.as_bytes()).await);
        while connection.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_never_comes_to_an_end_is_given_up() {
    let limit = Duration::from_millis(50);
    let limits = GetLimits {
        total_timeout: limit,
        ..limits()
    };
    let (silent, never) = listen().await;
    let head = drip("HTTP/1.1 200 OK\r\nx-slow: ").await;
    let body = drip("HTTP/1.1 200 OK\r\n\r\n").await;
    for address in [never, head, body] {
        let error = client().get(&address, &limits).await;
        assert_eq!(
            error.expect_err("given up").to_string(),
            "127.0.0.1 did not answer in full within 50ms."
        );
    }
    drop(silent);
}
