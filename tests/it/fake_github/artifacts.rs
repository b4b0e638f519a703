//! Artifacts of workflow runs: their list, and a download that redirects to a signed address
//! elsewhere. That address refuses GitHub's tokens.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use pacegate_clock::Clock;
use pacegate_github::RepoClient;
use pacegate_github::artifacts::of_attempt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::FakeGitHub;
use super::contract::CONTRACT;
use super::reply::Reply;
use super::routes::{Call, page};
use super::server::Shared;
use super::state::{Repository, State};
use super::views::overlay;
use crate::time::{now_seconds, rfc3339};

const READ: [(&str, &str); 1] = [("actions", "read")];

/// An artifact as GitHub lists it. Optional fields that a test does not set come from the run.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    pub id: u64,
    pub run_id: u64,
    pub name: String,
    pub zip: Vec<u8>,
    /// The listed size. It may differ from the size of the bytes.
    pub size: u64,
    pub digest: Option<String>,
    pub expired: bool,
    pub repository_id: Option<u64>,
    pub head_repository_id: Option<u64>,
    pub head_sha: Option<String>,
    /// The target of the download, if it is not the bytes.
    pub location: Option<String>,
    /// The number of downloads of its bytes.
    pub downloads: usize,
}

impl FakeGitHub {
    /// Adds an artifact to a run, newer than the existing ones. Returns its number.
    pub(crate) fn put_artifact(&self, run_id: u64, name: &str, zip: &[u8]) -> u64 {
        let mut state = self.state();
        let id = state.next_id();
        state.artifacts.push(Artifact {
            id,
            run_id,
            name: name.to_owned(),
            zip: zip.to_vec(),
            size: zip.len() as u64,
            digest: Some(format!("sha256:{}", hex::encode(Sha256::digest(zip)))),
            expired: false,
            repository_id: None,
            head_repository_id: None,
            head_sha: None,
            location: None,
            downloads: 0,
        });
        id
    }

    pub(crate) fn change_artifact(&self, id: u64, change: impl FnOnce(&mut Artifact)) {
        change(self.state().artifacts.iter_mut().find(|artifact| artifact.id == id).expect("that artifact"));
    }

    /// The number of downloads of all artifacts.
    pub(crate) fn artifact_downloads(&self) -> usize {
        self.state().artifacts.iter().map(|artifact| artifact.downloads).sum()
    }
}

pub(crate) fn list(state: &State, call: &Call) -> Result<Reply, Reply> {
    let repository = call.repository(state, &READ)?;
    let run = state
        .workflow_runs
        .iter()
        .find(|(repo, run)| *repo == repository.id && run.id == call.number("run_id"))
        .map(|(_, run)| run)
        .ok_or_else(Reply::not_found)?;
    let named = |artifact: &&Artifact| call.parameter("name").is_none_or(|name| name == artifact.name);
    let of_run = state.artifacts.iter().filter(|artifact| artifact.run_id == run.id).filter(named);
    let items = of_run.rev().map(|artifact| view(state, call.base, &repository, run, artifact)).collect();
    Ok(page(call, items, |artifacts, total| json!({ "total_count": total, "artifacts": artifacts })))
}

fn view(
    state: &State,
    base: &str,
    repository: &Repository,
    run: &super::actions::WorkflowRun,
    artifact: &Artifact,
) -> Value {
    let mut example = CONTRACT.example("actions/list-workflow-run-artifacts", 200);
    let url = format!("{base}/repos/{}/actions/artifacts/{}", repository.full_name(), artifact.id);
    let now = rfc3339(now_seconds());
    overlay(
        example["artifacts"][0].take(),
        json!({
            "id": artifact.id, "name": artifact.name, "size_in_bytes": artifact.size, "url": url,
            "archive_download_url": format!("{url}/zip"), "expired": artifact.expired, "digest": artifact.digest,
            "created_at": now, "updated_at": now, "expires_at": rfc3339(now_seconds() + 86_400),
            "workflow_run": {
                "id": run.id,
                "repository_id": artifact.repository_id.unwrap_or(repository.id),
                "head_repository_id": artifact
                    .head_repository_id
                    .unwrap_or_else(|| super::actions::head_repository_id(state, repository, run)),
                "head_branch": run.head_branch,
                "head_sha": artifact.head_sha.as_ref().unwrap_or(&run.head_sha),
            },
        }),
    )
}

pub(crate) fn download(state: &State, call: &Call) -> Result<Reply, Reply> {
    call.repository(state, &READ)?;
    let id = call.number("artifact_id");
    let artifact = state.artifacts.iter().find(|artifact| artifact.id == id).ok_or_else(Reply::not_found)?;
    if artifact.expired {
        return Err(Reply::refusal(410, "Artifact has expired"));
    }
    let blob = || format!("{}/blobs/{id}?sig=signed", call.base);
    let location = artifact.location.clone().unwrap_or_else(blob);
    Ok(Reply::new(302, json!("")).header("location", location))
}

/// The number of an artifact whose bytes are requested. They are not part of the API.
pub(crate) fn is_blob(request: &Request) -> Option<u64> {
    request.uri().path().rsplit_once("/blobs/")?.1.parse().ok()
}

/// Returns the bytes to a request with the signed address and without a token.
pub(crate) fn blob(shared: &Shared, id: u64, request: &Request) -> Response {
    let mut state = shared.state.lock().expect("no panic inside");
    let answer = |status: u16, bytes: Vec<u8>| {
        let response = Response::builder().status(status).header("content-type", "application/zip");
        response.body(Body::from(bytes)).expect("a response")
    };
    if request.headers().contains_key("authorization") {
        state.violation("a token of GitHub's was sent to where artifacts are stored");
        return answer(400, Vec::new());
    }
    let signed = request.uri().query() == Some("sig=signed");
    match state.artifacts.iter_mut().find(|artifact| artifact.id == id).filter(|_| signed) {
        Some(artifact) => {
            artifact.downloads += 1;
            answer(200, artifact.zip.clone())
        }
        None => answer(404, Vec::new()),
    }
}

#[tokio::test]
async fn artifacts_are_fetched_tokenless_and_verified_against_listing() {
    let repo = "acme/my-app";
    let fake = FakeGitHub::with_repository(repo).await;
    fake.workflow_run(repo, super::actions::WorkflowRun::new(7, repo, &"a".repeat(40), 1_000));
    let token = fake.personal_token(99).into();
    let (name, clock) = (repo.parse().expect("a name"), Clock::system());
    let client =
        RepoClient::of_person(&token, &name, &fake.url(), Duration::from_secs(10), clock).expect("a client");
    let run = client.workflow_run_attempt(7, 1).await.expect("a run");
    let ids: Vec<u64> =
        (0..6).map(|n| fake.put_artifact(7, &format!("pacegate-1-{n}"), b"the bytes")).collect();
    fake.change_artifact(ids[1], |artifact| artifact.digest = Some("sha256:00".to_owned()));
    fake.change_artifact(ids[2], |artifact| artifact.location = Some("http://10.0.0.1/x".to_owned()));
    fake.change_artifact(ids[3], |artifact| artifact.size = 100);
    fake.change_artifact(ids[4], |artifact| artifact.size = 1);
    fake.change_artifact(ids[5], |artifact| artifact.head_sha = Some("b".repeat(40)));
    let listed = client.artifacts_of_run(7).await.expect("a list");
    let selection = of_attempt(listed, &run, 1);
    assert_eq!((selection.chosen.len(), selection.refused.len()), (5, 1), "{selection:?}");
    let mut fetched = Vec::new();
    for artifact in &selection.chosen {
        let limit = if artifact.size_in_bytes == 1 { 4 } else { 50 };
        fetched.push(client.artifact_zip(artifact, limit).await.map_err(|error| error.to_string()));
    }
    assert_eq!(fetched[0].as_deref(), Ok(&b"the bytes"[..]));
    for (outcome, reason) in fetched[1..].iter().zip(["SHA-256", "not https", "larger", "larger"]) {
        let error = outcome.as_ref().expect_err(reason);
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(fake.artifact_downloads(), 3, "no download of an artifact with a too large listed size");
    fake.finish();
}
