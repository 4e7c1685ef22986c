use std::sync::PoisonError;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::{Admin, Config};

/// The answer to a request, head and body.
async fn exchange(request: &str) -> String {
    let app =
        crate::process::assemble(Config::embedded(), "test".to_owned()).expect("the embedded configuration is good");
    app.listening.lock().unwrap_or_else(PoisonError::into_inner).push("127.0.0.1:1".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(serve(listener, Arc::new(app)));
    let mut client = TcpStream::connect(address).await.expect("it listens");
    client.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("it answers in text");
    server.abort();
    answer
}

async fn answer(path: &str) -> String {
    exchange(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn metrics_come_in_the_text_format() {
    let answer = answer("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    assert!(answer.contains("\nlarder_commands_total 0\n"), "{answer}");
}

#[tokio::test]
async fn a_living_process_says_ok() {
    let answer = answer("/livez").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[tokio::test]
async fn one_that_starts_is_not_ready() {
    let answer = answer("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains(r#""ready":false,"stage":"starting""#), "{answer}");
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_told_what_there_is() {
    let unknown = answer("/states?x=1").await;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert!(unknown.contains(r#"{"error":"there is no /states","remedy":"there is: GET /,"#), "{unknown}");
    for path in ["/purge", "/ladder", "/log", "/reload", "/drain"] {
        let wrong = answer(path).await;
        assert!(wrong.starts_with("HTTP/1.1 405") && wrong.contains(r#"does not take GET","remedy":"there is: GET /"#));
    }
    let wrong = exchange("DELETE /state HTTP/1.0\r\n\r\n").await;
    assert!(wrong.starts_with("HTTP/1.0 405"), "{wrong}");
}

#[tokio::test]
async fn a_body_that_is_no_json_or_too_large_is_refused() {
    let post = async |kind: &str, body: &str| {
        let length = body.len();
        exchange(&format!("POST /purge HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    };
    assert!(post("text/plain", r#"{"all":true}"#).await.starts_with("HTTP/1.0 415"));
    assert!(post("application/json; charset=utf-8", r#"{"all":true}"#).await.starts_with("HTTP/1.0 200"));
    for wrong in
        ["", "{", "[]", "{}", r#"{"all":false}"#, r#"{"key":"a","prefix":"b"}"#, r#"{"prefix":""}"#, r#"{"kez":"a"}"#]
    {
        let answer = post("application/json", wrong).await;
        assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("\"remedy\":"), "{wrong}: {answer}");
    }
    let large = format!(r#"{{"key":"{}"}}"#, "x".repeat(1 << 20));
    assert!(post("application/json", &large).await.starts_with("HTTP/1.0 413"));
}

#[tokio::test]
async fn a_taken_address_is_an_error_only_where_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let by_default = bind(&Admin { address, configured: false, token: None }).await;
    assert!(matches!(by_default, Ok(None)), "{by_default:?}");
    let error = bind(&Admin { address, configured: true, token: None }).await.expect_err("it is taken");
    assert!(error.contains("admin.address") && error.contains("--admin"), "{error}");
}
