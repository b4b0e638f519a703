//! Lifecycle events of repositories, installations, pull requests and workflow runs, each delivered
//! to the real binary.

mod installations;
mod pull_requests;
mod repositories;
mod workflows;

use serde_json::Value;

use super::{DEADLINE, Fixture};
use crate::fake_github::state::{PullRequest, Repository};
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::eventually;
use crate::webhooks::{self, delivery};

/// The status of a page that needs a token.
const CLOSED: u16 = 401;

impl Fixture {
    /// Delivers a payload.
    async fn deliver_event(&self, service: &Service, event: &str, payload: &Value) {
        self.deliver(service, &delivery(event, payload, WEBHOOK_SECRET)).await;
    }

    /// Delivers an event about the fixture's repository in its present state.
    async fn deliver_repository_event(&self, service: &Service, action: &str) {
        self.deliver_event(service, "repository", &webhooks::repository(action, &self.repository)).await;
    }

    /// Changes the fixture's repository, also on GitHub.
    fn change(&mut self, change: impl Fn(&mut Repository)) {
        self.fake.change_repository(&self.repository.full_name(), &change);
        change(&mut self.repository);
    }

    /// Adds or replaces a pull request on GitHub and delivers the event.
    async fn deliver_pull_request_event(&self, service: &Service, action: &str, pr: &PullRequest) {
        self.fake.pull_request(&self.repository.full_name(), pr.clone());
        self.deliver_event(service, "pull_request", &webhooks::pull_request(action, &self.repository, pr))
            .await;
    }

    /// Waits until a head has a check run.
    async fn wait_for_check(&self, sha: &str) {
        eventually("a check in progress", DEADLINE, || async { self.checks(sha).first().map(|_| ()) }).await;
    }

    /// The status of a page and its `location`, with or without a token.
    async fn page(&self, service: &Service, path: &str, token: Option<&str>) -> (u16, String) {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let mut request = client.build().expect("a client").get(format!("{}/{path}", service.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        let to = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        (answer.status().as_u16(), to.to_owned())
    }

    /// Waits until a page has this status without a token.
    async fn page_becomes(&self, service: &Service, path: &str, status: u16) {
        eventually(&format!("{path} to be {status}"), DEADLINE, || async {
            (self.page(service, path, None).await.0 == status).then_some(())
        })
        .await;
    }

    /// The verdict on a head, from the API of the fixture's repository.
    async fn verdict(&self, service: &Service, sha: &str, token: &str) -> Value {
        let repo = self.repository.full_name();
        let url = format!("{}/api/v1/repos/{repo}/commits/{sha}/verdict?wait=30s", service.url());
        let answer = self.client.get(url).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }
}
