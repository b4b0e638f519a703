//! The artifact service with the protocol of `@actions/artifact`, on loopback. An artifact is
//! created, written in blocks to a signed address, and finalized with its size and digest. An
//! inconsistent request is refused and recorded for the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::runner::Access;

const LARGEST: usize = 256 << 20;

/// A finalized artifact.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    pub run_id: u64,
    pub name: String,
    pub zip: Vec<u8>,
    /// RFC 3339, if the uploader sets it.
    pub expires_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Works,
    /// Every call is answered with this status.
    Answers(u16),
    /// No call is answered.
    Hangs,
}

#[derive(Clone)]
pub(super) struct ArtifactService {
    url: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    behaviour: Behaviour,
    /// Created artifacts that are not finalized, by their signature.
    open: BTreeMap<String, Open>,
    finalized: Vec<Artifact>,
    wrong: Vec<String>,
    /// Signatures issued so far.
    signatures: Vec<String>,
}

struct Open {
    run_id: u64,
    name: String,
    expires_at: Option<String>,
    blocks: BTreeMap<String, Bytes>,
    content: Option<Vec<u8>>,
}

impl ArtifactService {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Inner {
            behaviour: Behaviour::Works,
            open: BTreeMap::new(),
            finalized: Vec::new(),
            wrong: Vec::new(),
            signatures: Vec::new(),
        };
        let service = Self { url, inner: Arc::new(Mutex::new(inner)) };
        let app = Router::new().fallback(serve).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        service
    }

    pub(super) fn set(&self, behaviour: Behaviour) {
        self.inner().behaviour = behaviour;
    }

    /// A job's access to the service: a token whose scope names the run and the job.
    pub(super) fn access(&self, run_id: u64, job: &str) -> Access {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let scope = format!("Actions.ExampleScope Actions.Results:run-{run_id}:job-{job}");
        let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = part(json!({ "scp": scope, "iss": "the runner's stand-in" }));
        let signature = hex::encode(Sha256::digest(&claims));
        Access { url: format!("{}/", self.url), token: format!("{head}.{claims}.{signature}") }
    }

    /// The finalized artifacts, in order.
    pub(super) fn artifacts(&self) -> Vec<Artifact> {
        self.inner().finalized.clone()
    }

    /// The signatures of all addresses. A signature is a secret while its address is valid.
    pub(super) fn signatures(&self) -> Vec<String> {
        self.inner().signatures.clone()
    }

    /// Fails the test if a request was refused or an artifact was not finalized.
    pub(super) fn finish(&self) {
        let inner = self.inner();
        assert!(inner.wrong.is_empty(), "the artifact service refuses:\n- {}", inner.wrong.join("\n- "));
        assert!(inner.open.is_empty(), "an artifact was not finalized");
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic inside")
    }
}

async fn serve(State(service): State<ArtifactService>, request: Request) -> Response {
    let behaviour = service.inner().behaviour;
    match behaviour {
        Behaviour::Works => {}
        Behaviour::Answers(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return (status, json!({ "code": "internal", "msg": "not now" }).to_string()).into_response();
        }
        Behaviour::Hangs => std::future::pending().await,
    }
    let (parts, body) = request.into_parts();
    let url = reqwest::Url::parse(&format!("http://h{}", parts.uri)).expect("a request's target");
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let Ok(body) = to_bytes(body, LARGEST).await else { return StatusCode::BAD_REQUEST.into_response() };
    let path = url.path();
    let answer = match path.strip_prefix("/twirp/github.actions.results.api.v1.ArtifactService/") {
        Some("CreateArtifact") => service.create(&parts.headers, &body),
        Some("FinalizeArtifact") => service.finalize(&parts.headers, &body),
        None if parts.method == "PUT" => service.write(&query, &body),
        _ => Err(format!("{} {path} is nothing an upload asks for", parts.method)),
    };
    answer.unwrap_or_else(|wrong| {
        service.inner().wrong.push(wrong.clone());
        (StatusCode::BAD_REQUEST, json!({ "code": "invalid_argument", "msg": wrong }).to_string())
            .into_response()
    })
}

impl ArtifactService {
    fn create(&self, headers: &HeaderMap, body: &Bytes) -> Result<Response, String> {
        let (run_id, request) = Self::call(headers, body)?;
        let name = text(&request, "name")?;
        if name.is_empty() || name.contains(['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\', '/']) {
            return Err(format!("an artifact can't be called {name:?}"));
        }
        if request["version"] != 7 {
            return Err(format!("version {} of artifacts", request["version"]));
        }
        let mut inner = self.inner();
        if inner.finalized.iter().any(|known| known.run_id == run_id && known.name == name) {
            let known = json!({ "code": "already_exists", "msg": "an artifact with this name already exists on the workflow run" });
            return Ok((StatusCode::CONFLICT, known.to_string()).into_response());
        }
        // Contains a slash, so that its encoded form is a different text.
        let signature = format!("{}/{}", hex::encode(Sha256::digest(&name)), inner.signatures.len());
        inner.signatures.push(signature.clone());
        let expires_at = request["expires_at"].as_str().map(str::to_owned);
        let open = Open { run_id, name, expires_at, blocks: BTreeMap::new(), content: None };
        inner.open.insert(signature.clone(), open);
        let mut url = reqwest::Url::parse(&format!("{}/blobs/artifact.zip", self.url)).expect("an address");
        url.query_pairs_mut().append_pair("sig", &signature).append_pair("se", "2099-01-01");
        Ok(json!({ "ok": true, "signed_upload_url": url.as_str() }).to_string().into_response())
    }

    /// Writes a block, or the list that combines blocks into the blob.
    fn write(&self, query: &BTreeMap<String, String>, body: &Bytes) -> Result<Response, String> {
        let mut inner = self.inner();
        let signature = query.get("sig").ok_or("a write without a signature")?;
        let open = inner.open.get_mut(signature).ok_or("a write with a signature that was never issued")?;
        match query.get("comp").map(String::as_str) {
            Some("block") => {
                let id = query.get("blockid").ok_or("a block without its id")?;
                STANDARD.decode(id).map_err(|error| format!("a block's id: {error}"))?;
                open.blocks.insert(id.clone(), body.clone());
            }
            Some("blocklist") => {
                let list = String::from_utf8_lossy(body);
                let ids = list.split("<Latest>").skip(1).filter_map(|rest| rest.split_once('<'));
                let mut content = Vec::new();
                for (id, _) in ids {
                    content.extend_from_slice(open.blocks.get(id).ok_or("a list with an unknown block")?);
                }
                open.content = Some(content);
            }
            other => return Err(format!("a write of {other:?}")),
        }
        let headers = [("etag", "\"0x8D\""), ("x-ms-request-id", "1"), ("x-ms-version", "2026-04-06")];
        Ok((StatusCode::CREATED, headers).into_response())
    }

    fn finalize(&self, headers: &HeaderMap, body: &Bytes) -> Result<Response, String> {
        let (run_id, request) = Self::call(headers, body)?;
        let name = text(&request, "name")?;
        let mut inner = self.inner();
        let found = inner.open.iter().find(|(_, open)| open.run_id == run_id && open.name == name);
        let signature = found.map(|(signature, _)| signature.clone());
        let open =
            signature.and_then(|s| inner.open.remove(&s)).ok_or("what was not created is finalized")?;
        let zip = open.content.ok_or("what was not written is finalized")?;
        // JSON for protobuf has 64-bit integers as strings.
        if text(&request, "size")? != zip.len().to_string() {
            return Err(format!("a size of {}, but {} bytes came", request["size"], zip.len()));
        }
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(&zip)));
        if !request["hash"].is_null() && request["hash"] != hash {
            return Err(format!("the hash {}, but {hash} came", request["hash"]));
        }
        let expires_at = open.expires_at;
        inner.finalized.push(Artifact { run_id, name: open.name, zip, expires_at });
        let id = (9_000 + inner.finalized.len()).to_string();
        Ok(json!({ "ok": true, "artifact_id": id }).to_string().into_response())
    }

    /// The run of a call. The token and the body both have to name it.
    fn call(headers: &HeaderMap, body: &Bytes) -> Result<(u64, Value), String> {
        let token =
            headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let claims = token.and_then(|token| URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok());
        let claims: Value = serde_json::from_slice(&claims.ok_or("a call without the job's token")?)
            .map_err(|error| format!("the token's claims: {error}"))?;
        let scope = text(&claims, "scp")?;
        let mut ids = scope.split(' ').find_map(|part| part.strip_prefix("Actions.Results:"));
        let (run, job) = ids.take().and_then(|ids| ids.split_once(':')).ok_or("a token without results")?;
        let request: Value =
            serde_json::from_slice(body).map_err(|error| format!("a call's body: {error}"))?;
        if request["workflow_run_backend_id"] != run || request["workflow_job_run_backend_id"] != job {
            return Err(format!("the token is of {run} and {job}: {request}"));
        }
        let run_id = run.strip_prefix("run-").and_then(|id| id.parse().ok()).ok_or("an unknown run")?;
        Ok((run_id, request))
    }
}

fn text(value: &Value, name: &str) -> Result<String, String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name} in {value}"))
}

#[tokio::test]
async fn upload_that_contradicts_itself_is_refused() {
    let service = ArtifactService::start().await;
    let (client, access) = (reqwest::Client::new(), service.access(7, "test"));
    let call = async |method: &str, more: Value| {
        let mut body = json!({ "workflow_run_backend_id": "run-7", "workflow_job_run_backend_id": "job-test", "version": 7 });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let url = format!("{}twirp/github.actions.results.api.v1.ArtifactService/{method}", access.url);
        let answer = client.post(url).bearer_auth(&access.token).json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    let put = async |url: String, body: &str| {
        client.put(url).body(body.to_owned()).send().await.expect("an answer").status().as_u16()
    };
    let named = json!({ "name": "a" });
    let (_, created) = call("CreateArtifact", named.clone()).await;
    let created: Value = serde_json::from_str(&created).expect("JSON");
    let url = created["signed_upload_url"].as_str().expect("an address");
    assert_eq!(put(format!("{url}&comp=block&blockid=YQ=="), "bytes").await, 201);
    assert_eq!(put(format!("{url}&comp=blocklist"), "<Latest>Yg==</Latest>").await, 400, "an unknown block");
    assert_eq!(put(url.replace("sig=", "sig=x"), "bytes").await, 400, "an unknown signature");
    assert_eq!(call("FinalizeArtifact", named).await.0, 400, "nothing was written");
    for wrong in [
        json!({ "name": "a/b" }),
        json!({ "name": "b", "version": 4 }),
        json!({ "name": "b", "workflow_run_backend_id": "run-8" }),
    ] {
        assert_eq!(call("CreateArtifact", wrong.clone()).await.0, 400, "{wrong}");
    }
    assert_eq!(service.inner().wrong.len(), 6);
}
