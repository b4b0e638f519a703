//! An answer before it is HTTP, and the texts of GitHub's refusals.

use serde_json::{Value, json};

/// Status, headers beyond the usual ones, and a body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn refusal(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        });
        Self::new(status, body)
    }

    pub(crate) fn not_found() -> Self {
        Self::refusal(404, "Not Found")
    }

    /// 422 with a reason, in GitHub's format.
    pub(crate) fn invalid(message: &str) -> Self {
        let mut reply = Self::refusal(422, "Validation Failed");
        reply.body["errors"] = json!([{ "resource": "Request", "code": "custom", "message": message }]);
        reply
    }
}
