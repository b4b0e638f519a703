//! The pages of a service without GitHub: every page is available, no text of a sender becomes
//! markup, and no page needs a script.

use serde_json::json;

use super::{DEADLINE, Database, HISTORY, REPO, create_token, on_both};
use crate::pipeline::{Run, history, text};
use crate::service::Service;
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

on_both!(local_mode_shows_what_would_be_posted);
async fn local_mode_shows_what_would_be_posted(database: Database) {
    let builder = database.configure(Service::builder().env("PACEGATE_SETTLE", "200ms"));
    let token = create_token(&builder, REPO);
    let service = builder.start().await;
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let answer = client.get(format!("{}{path}", service.url())).send().await.expect("an answer");
        let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    };
    let push = async |request: &serde_json::Value| {
        let request = client.post(format!("{}/v1/traces", service.url())).bearer_auth(&token).json(request);
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    };
    let (status, page) = get("/").await;
    assert_eq!(status, 200);
    assert!(page.contains("Local mode"), "{page}");

    push(&history(HISTORY, now_seconds() - 7200)).await;
    let (first, second) = (sha("local first"), sha("local second"));
    let adversarial = "<script>alert(1)</script>";
    for (head, minutes) in [(&first, 30), (&second, 10)] {
        eventually("the runs before", DEADLINE, || async {
            (get(&format!("/{REPO}")).await.1.matches("/runs/").count() >= HISTORY as usize).then_some(())
        })
        .await;
        let mut run = Run::slowed(head, adversarial, now_seconds() - minutes * 60);
        run.change = Some(12);
        let mut request = run.request();
        let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().expect("spans");
        spans[0]["name"] = json!(adversarial);
        spans[0]["attributes"] = json!([text("password", "hunter2")]);
        push(&request).await;
        let url = format!("{}/api/v1/repos/{REPO}/commits/{head}/verdict?wait=30s", service.url());
        let verdict: serde_json::Value =
            client.get(url).send().await.expect("an answer").json().await.expect("JSON");
        assert!(
            ["suspect", "regressed"].contains(&verdict["verdict"].as_str().expect("a text")),
            "{verdict}"
        );
    }
    let (_, runs) = get(&format!("/{REPO}")).await;
    let link = runs
        .split("href=\"")
        .filter_map(|part| part.split('"').next())
        .find(|href| href.contains("/comparisons/"));
    let (status, page) = get(link.expect("a link to the comparison")).await;
    assert_eq!(status, 200);
    let report = client.get(format!("{}/api/v1/repos/{REPO}/commits/{second}/report", service.url()));
    let report: serde_json::Value = report.send().await.expect("an answer").json().await.expect("JSON");
    let title = report["check"]["title"].as_str().expect("a title");
    assert!(title.contains("integration-tests"), "{title}");
    assert!(
        page.contains(title) || page.contains(&title.replace('\'', "&#39;")),
        "the page shows what GitHub would get"
    );
    for page in [&runs, &page] {
        assert!(!page.contains(adversarial) && !page.contains("<script"), "a sender's text became markup");
        assert!(!page.contains("hunter2"), "a secret is shown");
    }
    let (status, page) = get("/no/such/page").await;
    assert_eq!(status, 404);
    assert!(page.contains("nothing here"), "{page}");
    assert_eq!(get("/healthz").await, (200, "alive\n".into()));
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("pacegate_spans_total{kind=\"otlp_http\",outcome=\"accepted\"}"), "{metrics}");
    let answer =
        client.post(format!("{}/webhook", service.url())).body("{}").send().await.expect("an answer");
    assert_eq!(answer.status(), 401, "without a configured secret no signature is valid");
    service.terminate().await;
}
