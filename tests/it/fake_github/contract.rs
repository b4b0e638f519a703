//! Checks both sides against GitHub's own description of its API: the App's requests and the
//! answers of this fake.
//!
//! `tests/openapi/extract.mjs` extracts the description, and the repository keeps no part of it. An
//! answer starts from the description's own example.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use serde_json::Value;

/// One operation: its route, its parameters and the schemas of request and answers.
pub(crate) struct Operation {
    /// GitHub's name for it, such as `checks/create`.
    pub id: String,
    method: String,
    template: Vec<String>,
    /// Query parameters the description lists.
    pub query: Vec<String>,
    body_required: bool,
    request: Option<Validator>,
    responses: BTreeMap<u16, Answer>,
}

struct Answer {
    schema: Validator,
    examples: Vec<Value>,
}

/// All operations that the fake knows.
pub(crate) struct Contract {
    operations: Vec<Arc<Operation>>,
}

/// Compiled once for the test binary.
pub(crate) static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/openapi/github.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `make test-data` extracts GitHub's API description", path.display())
    });
    Contract::parse(&serde_json::from_str(&text).expect("the extracted description is JSON"))
});

impl Contract {
    fn parse(document: &Value) -> Self {
        let operations = document["operations"].as_array().expect("a list of operations");
        Self { operations: operations.iter().map(|o| Arc::new(Operation::parse(o))).collect() }
    }

    /// The operation for a method and path, with the path's variables, percent-decoded.
    pub(crate) fn route(
        &self,
        method: &str,
        path: &str,
    ) -> Option<(Arc<Operation>, BTreeMap<String, String>)> {
        self.operations
            .iter()
            .filter(|operation| operation.method == method)
            .find_map(|operation| Some((Arc::clone(operation), operation.variables(path)?)))
    }

    /// A copy of the description's example of an answer.
    pub(crate) fn example(&self, id: &str, status: u16) -> Value {
        let operation =
            self.operations.iter().find(|o| o.id == id).unwrap_or_else(|| panic!("no operation {id}"));
        let answer =
            operation.responses.get(&status).unwrap_or_else(|| panic!("{id} has no answer {status}"));
        answer.examples.first().cloned().expect("the description gives an example")
    }
}

impl Operation {
    fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().expect("text").to_owned();
        let compile = |schema: &Value| {
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft7)
                .should_validate_formats(true)
                .build(schema)
                .expect("a schema that compiles")
        };
        let responses = value["responses"].as_object().expect("answers").iter().map(|(status, answer)| {
            let examples = answer["examples"].as_object().expect("examples");
            let examples = examples.values().cloned().collect();
            (status.parse().expect("a status"), Answer { schema: compile(&answer["schema"]), examples })
        });
        Self {
            id: text("id"),
            method: text("method"),
            template: text("path").split('/').map(str::to_owned).collect(),
            query: value["query"]
                .as_array()
                .expect("parameters")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            body_required: value["body_required"] == true,
            request: Some(&value["request"]).filter(|schema| !schema.is_null()).map(compile),
            responses: responses.collect(),
        }
    }

    fn variables(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let mut given = path.split('/');
        for (position, part) in self.template.iter().enumerate() {
            let is_last = position + 1 == self.template.len();
            match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                // Only the variable for a file's path may contain slashes.
                Some("path") if is_last => {
                    let rest: Vec<_> = given.by_ref().collect();
                    found.insert("path".to_owned(), percent_decoded(&rest.join("/")));
                }
                Some(name) => {
                    found.insert(name.to_owned(), percent_decoded(given.next()?));
                }
                None if given.next()? == part => {}
                None => return None,
            }
        }
        given.next().is_none().then_some(found)
    }

    /// The violations of the description in a request.
    pub(crate) fn request_errors(&self, query: &[(String, String)], body: Option<&Value>) -> Vec<String> {
        let mut found: Vec<String> = query
            .iter()
            .filter(|(name, _)| !self.query.contains(name))
            .map(|(name, _)| format!("{}: no query parameter {name:?}", self.id))
            .collect();
        match (&self.request, body) {
            (Some(schema), Some(body)) => found.extend(errors(schema, body, &format!("{} request", self.id))),
            (Some(_), None) if self.body_required => found.push(format!("{}: the body is required", self.id)),
            (None, Some(_)) => found.push(format!("{}: takes no body", self.id)),
            _ => {}
        }
        found
    }

    /// The violations of the description in an answer of this fake.
    pub(crate) fn response_errors(&self, status: u16, body: &Value) -> Vec<String> {
        match self.responses.get(&status) {
            Some(answer) => errors(&answer.schema, body, &format!("{} answer {status}", self.id)),
            None if status < 300 => vec![format!("{}: the description has no answer {status}", self.id)],
            None => Vec::new(),
        }
    }
}

fn errors(schema: &Validator, value: &Value, context: &str) -> Vec<String> {
    schema
        .iter_errors(value)
        .map(|error| {
            format!(
                "{context}: at {:?}: {}",
                error.instance_path().to_string(),
                shortened(&error.to_string())
            )
        })
        .collect()
}

/// Removes the middle of an error text. It starts with the value and ends with the reason, so both
/// stay visible.
fn shortened(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= 400 {
        return text.to_owned();
    }
    let part = |chars: &[char]| chars.iter().collect::<String>();
    format!("{} … {}", part(&chars[..150]), part(&chars[chars.len() - 200..]))
}

/// Decodes `%2F` and similar escapes in a path segment.
fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| segment.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn routes_match_by_template() {
    let found = |method, path| {
        CONTRACT.route(method, path).map(|(operation, variables)| (operation.id.clone(), variables))
    };
    let (id, variables) = found("GET", "/repos/o/r/commits/refs%2Fheads%2Fx/check-runs").expect("a route");
    assert_eq!((id.as_str(), variables["ref"].as_str()), ("checks/list-for-ref", "refs/heads/x"));
    let (id, variables) = found("GET", "/repos/o/r/contents/.github/pacegate.yml").expect("a route");
    assert_eq!((id.as_str(), variables["path"].as_str()), ("repos/get-content", ".github/pacegate.yml"));
    assert!(found("DELETE", "/repos/o/r").is_none() && found("GET", "/repos/o/r/labels").is_none());
}
