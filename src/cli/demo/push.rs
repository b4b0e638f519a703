//! The demo's client of the service: pushes OTLP over HTTP and reads the API.

use std::io::Write;
use std::time::Duration;

use super::pipeline::{RunPlan, spans};
use crate::cli::CliError;
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, RepoName};
use pacegate_ingest::otlp::encode_json;

/// Timeout for the service's results.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Pushes runs for one repository and reads its verdicts.
pub(super) struct Pusher {
    client: reqwest::Client,
    address: String,
    token: String,
    repo: RepoName,
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Demo(error.to_string())
}

impl Pusher {
    pub(super) fn new(address: &str, token: &str, repo: RepoName) -> Self {
        Self { client: reqwest::Client::new(), address: address.to_owned(), token: token.to_owned(), repo }
    }

    /// Sends a run in two requests, children first, as a batching exporter does.
    pub(super) async fn push(&self, plan: &RunPlan, rng: &Randomness) -> Result<(), CliError> {
        let spans = spans(plan, &self.repo, rng);
        for batch in spans.chunks(spans.len().div_ceil(2)) {
            let json = encode_json(batch).map_err(failed)?;
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&json).map_err(failed)?;
            let answer = self
                .client
                .post(format!("{}/v1/traces", self.address))
                .bearer_auth(&self.token)
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                .body(gzip.finish().map_err(failed)?)
                .send()
                .await
                .map_err(failed)?;
            if !answer.status().is_success() {
                let status = answer.status();
                return Err(failed(format!("{status} {}", answer.text().await.unwrap_or_default())));
            }
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<(u16, serde_json::Value), CliError> {
        let url = format!("{}/api/v1/repos/{}{path}", self.address, self.repo);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.map_err(failed)?))
    }

    /// Waits until `count` runs have been collected.
    pub(super) async fn wait_for_runs(&self, count: u32) -> Result<(), CliError> {
        let collected = async {
            loop {
                let (_, body) = self.get("/runs").await?;
                if body["runs"].as_array().is_some_and(|runs| runs.len() >= count as usize) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, collected)
            .await
            .unwrap_or_else(|_| Err(failed("the runs were not collected in time")))
    }

    /// The verdict on a commit, as in the JSON API.
    pub(super) async fn verdict(&self, head_sha: &CommitSha) -> Result<String, CliError> {
        let verdict = async {
            loop {
                let (status, body) = self.get(&format!("/commits/{head_sha}/verdict?wait=30s")).await?;
                if status == 200 {
                    return Ok(body["verdict"].as_str().unwrap_or_default().to_owned());
                }
            }
        };
        tokio::time::timeout(TIMEOUT, verdict)
            .await
            .unwrap_or_else(|_| Err(failed("no verdict came in time")))
    }

    /// The comment that would be posted.
    pub(super) async fn comment(&self, head_sha: &CommitSha) -> Result<String, CliError> {
        let (_, body) = self.get(&format!("/commits/{head_sha}/report")).await?;
        let comment = body["comment"]["body"].as_str();
        comment.map(str::to_owned).ok_or_else(|| failed("the report holds no comment"))
    }
}
