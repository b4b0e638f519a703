//! An in-memory GitHub for tests: stateful, strict, and with faults on demand.
//!
//! It listens on 127.0.0.1 in a thread of its own, so a test may block. Every request and every
//! answer is checked against GitHub's official description of its API. A mismatch, and a request
//! for an unknown route, is a *violation* that fails the test in [`FakeGitHub::finish`].

pub(crate) mod access;
pub(crate) mod actions;
pub(crate) mod app;
pub(crate) mod artifacts;
pub(crate) mod checks;
mod client;
pub(crate) mod comments;
pub(crate) mod contract;
pub(crate) mod deliveries;
pub(crate) mod faults;
pub(crate) mod keys;
#[allow(dead_code, reason = "not every binary uses every claim and fault of the issuer")]
pub(crate) mod oidc;
pub(crate) mod reply;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod storm;
mod tests;
pub(crate) mod views;
pub(crate) mod waits;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use axum::extract::Request;
use tokio::sync::oneshot;

pub(crate) use faults::{Fault, Matcher, Pause, Side};
use server::Shared;
use state::{App, CheckRun, Comment, Installation, PullRequest, Recorded, Repository, State, Token};
use storm::{Storm, StormParameters};

/// The test's handle on a running fake.
pub(crate) struct FakeGitHub {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeGitHub {
    /// Listens on a free port, with no App and no repository yet.
    #[expect(clippy::unused_async, reason = "asynchronous like every other start in the tests")]
    pub(crate) async fn start() -> Self {
        Self::start_below("")
    }

    /// An Enterprise Server. Its API is below `/api/v3`, and a call outside is a violation.
    pub(crate) fn enterprise_server() -> Self {
        Self::start_below("/api/v3")
    }

    fn start_below(prefix: &'static str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let base = format!("http://{}{prefix}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            base,
            prefix,
            state: Mutex::default(),
            armed: Mutex::default(),
            storm: Mutex::default(),
            latency: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let router = axum::Router::new().fallback(move |request: Request| {
                    let shared = Arc::clone(&for_thread);
                    async move { server::serve(&shared, request).await }
                });
                tokio::select! {
                    served = axum::serve(listener, router) => served.expect("the fake serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Has the App `pacegate` (id 4711), installed as 99 on the owner of `full_name`, and that
    /// private repository (id 1296269).
    pub(crate) async fn with_repository(full_name: &str) -> Self {
        Self::start().await.populated(full_name)
    }

    /// Adds the App, the installation and the repository of [`Self::with_repository`].
    pub(crate) fn populated(self, full_name: &str) -> Self {
        self.app(App::new(4711, "pacegate"));
        self.installation(Installation::new(99, full_name.split('/').next().expect("OWNER/NAME")));
        self.repository(99, Repository::new(1_296_269, full_name));
        self
    }

    /// The value of `PACEGATE_GITHUB_API_URL`.
    pub(crate) fn url(&self) -> String {
        self.shared.base.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic inside")
    }

    pub(crate) fn app(&self, app: App) {
        self.state().app = Some(app);
    }

    /// Changes the App, for example its permissions, events or webhook.
    pub(crate) fn change_app(&self, change: impl FnOnce(&mut App)) {
        change(self.state().app.as_mut().expect("set the App first"));
    }

    /// The App, if it was set or created from a manifest.
    pub(crate) fn current_app(&self) -> Option<App> {
        self.state().app.clone()
    }

    /// Sets this GitHub's clock ahead of the test's clock.
    pub(crate) fn set_clock_ahead(&self, seconds: i64) {
        self.state().clock_offset_s = seconds;
    }

    /// The App's id, and its private key in the format that GitHub issues.
    pub(crate) fn credentials(&self) -> (u64, String) {
        let id = self.state().app.as_ref().expect("set the App first").id;
        (id, keys::app().private_pem.clone())
    }

    pub(crate) fn installation(&self, installation: Installation) {
        self.state().installations.push(installation);
    }

    /// Changes an installation, for example suspends it.
    pub(crate) fn change_installation(&self, id: u64, change: impl FnOnce(&mut Installation)) {
        change(self.state().installations.iter_mut().find(|i| i.id == id).expect("that installation"));
    }

    /// Uninstalls the App from an account. The installation is gone and its repositories are out of
    /// reach.
    pub(crate) fn uninstall(&self, id: u64) {
        let mut state = self.state();
        state.installations.retain(|installation| installation.id != id);
        for repository in state.repositories.iter_mut().filter(|r| r.installation == Some(id)) {
            repository.installation = None;
        }
    }

    /// Adds a repository to an installation.
    pub(crate) fn repository(&self, installation: u64, mut repository: Repository) {
        repository.installation = Some(installation);
        self.state().repositories.push(repository);
    }

    /// Changes a repository, for example removes it from the installation or renames it.
    pub(crate) fn change_repository(&self, full_name: &str, change: impl FnOnce(&mut Repository)) {
        let mut state = self.state();
        let id = state.repository_named(full_name).id;
        change(state.repositories.iter_mut().find(|r| r.id == id).expect("that repository"));
    }

    /// Adds a pull request to a repository, or replaces the pull request with its number.
    pub(crate) fn pull_request(&self, full_name: &str, pr: PullRequest) {
        let mut state = self.state();
        let repo_id = state.repository_named(full_name).id;
        state.pull_requests.retain(|(repo, old)| *repo != repo_id || old.number != pr.number);
        state.pull_requests.push((repo_id, pr));
    }

    /// Sets a person's permission in a repository: `admin`, `write` or `read`.
    pub(crate) fn collaborator(&self, full_name: &str, login: &str, permission: &str) {
        let mut state = self.state();
        let repo_id = state.repository_named(full_name).id;
        state.collaborators.insert((repo_id, login.to_owned()), permission.to_owned());
    }

    /// Adds a workflow run to a repository, or replaces the run with its number and attempt.
    pub(crate) fn workflow_run(&self, full_name: &str, run: actions::WorkflowRun) {
        let mut state = self.state();
        let repo_id = state.repository_named(full_name).id;
        state
            .workflow_runs
            .retain(|(repo, old)| *repo != repo_id || (old.id, old.attempt) != (run.id, run.attempt));
        state.workflow_runs.push((repo_id, run));
    }

    /// The jobs that the App asked to run again, in order.
    pub(crate) fn reruns(&self) -> Vec<u64> {
        self.state().reruns.clone()
    }

    /// A token of a person with access to the installation's repositories.
    pub(crate) fn personal_token(&self, installation_id: u64) -> String {
        access::mint(&mut self.state(), installation_id, None).expect("that installation").text.clone()
    }

    /// Puts a file at a git ref (a branch or a commit, compared as text).
    pub(crate) fn file(&self, full_name: &str, git_ref: &str, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        let repo_id = state.repository_named(full_name).id;
        state.contents.insert((repo_id, git_ref.to_owned(), path.to_owned()), bytes.to_vec());
    }

    /// A comment by someone else: a person, or another App if `app_slug` is set.
    pub(crate) fn foreign_comment(
        &self,
        full_name: &str,
        number: u64,
        author: &str,
        app_slug: Option<&str>,
        body: &str,
    ) {
        let mut state = self.state();
        let (id, repo_id, now) = (state.next_id(), state.repository_named(full_name).id, routes::now_text());
        let (author, body, app_slug) = (author.to_owned(), body.to_owned(), app_slug.map(str::to_owned));
        let (created_at, updated_at) = (now.clone(), now);
        state.comments.push(Comment {
            id,
            repo_id,
            number,
            body,
            author,
            app_slug,
            created_at,
            updated_at,
            writes: 1,
        });
    }

    /// Adds concluded check runs of our name and App to a head. They are newer than the existing
    /// ones.
    pub(crate) fn old_check_runs(&self, full_name: &str, head_sha: &str, count: usize) {
        let mut state = self.state();
        let repo_id = state.repository_named(full_name).id;
        for number in 0..count {
            let id = state.next_id();
            state.check_runs.push(CheckRun {
                id,
                repo_id,
                name: "Pacegate".to_owned(),
                head_sha: head_sha.to_owned(),
                status: "completed".to_owned(),
                conclusion: Some("neutral".to_owned()),
                external_id: Some(format!("another {number}")),
                ..CheckRun::default()
            });
        }
    }

    /// Revokes every minted token.
    pub(crate) fn revoke_tokens(&self) {
        self.state().tokens.iter_mut().for_each(|token| token.revoked = true);
    }

    /// All check runs of all repositories, oldest first.
    pub(crate) fn check_runs(&self) -> Vec<CheckRun> {
        self.state().check_runs.clone()
    }

    /// The comments on a pull request, oldest first.
    pub(crate) fn comments(&self, full_name: &str, number: u64) -> Vec<Comment> {
        let state = self.state();
        let repo_id = state.repository_named(full_name).id;
        state.comments.iter().filter(|c| c.repo_id == repo_id && c.number == number).cloned().collect()
    }

    /// Every token that was minted, oldest first.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.state().tokens.clone()
    }

    /// Every request that came, answered or not.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// The number of requests for one of GitHub's operations, such as `checks/create`.
    pub(crate) fn count_of(&self, operation: &str) -> usize {
        self.state().requests.iter().filter(|r| r.operation.as_deref() == Some(operation)).count()
    }

    /// Delays every answer from now on.
    #[allow(dead_code, reason = "only a benchmark uses it")]
    pub(crate) fn answers_after(&self, latency: std::time::Duration) {
        *self.shared.latency.lock().expect("no panic inside") = latency;
    }

    pub(crate) fn fault(&self, matcher: Matcher, fault: Fault) {
        self.shared.armed.lock().expect("no panic inside").fault(matcher, fault);
    }

    /// Adds an entry to the list of delivery attempts.
    pub(crate) fn add_delivery_attempt(&self, guid: &str, event: &str, delivered_at: i64, status_code: u16) {
        let mut state = self.state();
        let (id, guid, event) = (state.next_id(), guid.to_owned(), event.to_owned());
        state.delivery_attempts.push(deliveries::DeliveryAttempt {
            id,
            guid,
            event,
            delivered_at,
            status_code,
        });
    }

    /// The guids of the deliveries that the App asked to redeliver, in order.
    pub(crate) fn redelivery_requests(&self) -> Vec<String> {
        self.state().redelivery_requests.clone()
    }

    /// Starts a storm, in which a part of all calls fails, or ends it with `None`. Returns how
    /// often each fault occurred in the storm before.
    pub(crate) fn set_storm(&self, parameters: Option<StormParameters>) -> BTreeMap<String, usize> {
        let mut storm = self.shared.storm.lock().expect("no panic inside");
        let before = storm.take().map(|storm| storm.met).unwrap_or_default();
        *storm = parameters.map(Storm::new);
        before
    }

    /// Removes all waits so far: the process that received them was killed.
    pub(crate) fn clear_waits(&self) {
        self.state().waits.clear();
    }

    /// Holds the next matching request on that side of its write.
    pub(crate) fn pause_at(&self, method: &str, path_contains: &str, side: Side) -> Pause {
        let matcher = Matcher::on(method, path_contains);
        self.shared.armed.lock().expect("no panic inside").pause(matcher, side)
    }

    /// Returns the violations so far and clears them, for tests that provoke them.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state().violations)
    }

    /// Stops, and fails the test on any violation and on any fault that was armed and never met.
    pub(crate) fn finish(mut self) {
        self.shut_down();
        let mut wrong = self.take_violations();
        wrong.extend(self.shared.armed.lock().expect("no panic inside").unmet());
        assert!(wrong.is_empty(), "GitHub would not have taken this:\n- {}", wrong.join("\n- "));
    }

    fn shut_down(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The send fails only if the server has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake's thread ends");
        }
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.shut_down();
        let violations = self.shared.state.lock().map(|state| state.violations.clone()).unwrap_or_default();
        if !std::thread::panicking() {
            assert!(
                violations.is_empty(),
                "GitHub would not have taken this:\n- {}",
                violations.join("\n- ")
            );
        }
    }
}
