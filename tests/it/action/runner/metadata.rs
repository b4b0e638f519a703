//! An action's `action.yml` as the runner reads it: the inputs with their defaults, which may
//! contain expressions, and the scripts that Node runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// The parts of `action.yml` that the runner uses. A key that the runner does not know is a
/// mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    #[allow(dead_code, reason = "every action has one")]
    name: String,
    #[allow(dead_code, reason = "read by the marketplace")]
    description: String,
    #[allow(dead_code, reason = "read by the marketplace")]
    author: Option<String>,
    #[allow(dead_code, reason = "read by the marketplace")]
    branding: Option<BTreeMap<String, String>>,
    #[serde(default)]
    inputs: BTreeMap<String, Input>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    pub runs: Runs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Input {
    #[allow(dead_code, reason = "for readers")]
    description: Option<String>,
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[allow(dead_code, reason = "for readers")]
    deprecation_message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    #[allow(dead_code, reason = "for readers")]
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Runs {
    pub using: String,
    pub main: String,
    pub post: Option<String>,
    pub post_if: Option<String>,
}

impl Metadata {
    pub(super) fn read(folder: &Path) -> Self {
        let path = folder.join("action.yml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The variables `INPUT_…` of a step with these values in `with`. A real runner passes on an
    /// input that the action does not declare. Here that fails the test.
    pub(super) fn inputs(
        &self,
        with: &BTreeMap<String, String>,
        contexts: &BTreeMap<&str, Value>,
    ) -> BTreeMap<String, String> {
        for name in with.keys() {
            assert!(self.inputs.contains_key(name), "the action has no input {name:?}");
        }
        let value = |(name, input): (&String, &Input)| {
            let default = input.default.as_deref().map(|text| evaluate(text, contexts));
            let value = with.get(name).cloned().or(default).unwrap_or_default();
            assert!(!input.required || !value.is_empty(), "the input {name:?} is required");
            (format!("INPUT_{}", name.replace(' ', "_").to_uppercase()), value)
        };
        self.inputs.iter().map(value).collect()
    }
}

/// Replaces each `${{ … }}` in a text by its value.
fn evaluate(text: &str, contexts: &BTreeMap<&str, Value>) -> String {
    let Some((before, rest)) = text.split_once("${{") else { return text.to_owned() };
    let (expression, after) = rest.split_once("}}").expect("an expression has an end");
    let value = match term(expression.trim(), contexts) {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Array(_) => "Array".to_owned(),
        Value::Object(_) => "Object".to_owned(),
        plain => plain.to_string(),
    };
    format!("{before}{value}{}", evaluate(after, contexts))
}

/// A property of a context, or `toJSON` of a context or property. Defaults of inputs use nothing
/// else.
fn term(expression: &str, contexts: &BTreeMap<&str, Value>) -> Value {
    if let Some(inner) = expression.strip_prefix("toJSON(").and_then(|rest| rest.strip_suffix(')')) {
        return Value::String(format!("{:#}", term(inner.trim(), contexts)));
    }
    let mut parts = expression.split('.');
    let name = parts.next().expect("a first part");
    // A context that is not available there fails a real job before its first step.
    let context =
        contexts.get(name).unwrap_or_else(|| panic!("{name:?} is no context of an input's default"));
    parts.fold(context.clone(), |value, part| value.get(part).cloned().unwrap_or_default())
}

#[test]
fn input_defaults_are_evaluated() {
    let contexts = BTreeMap::from([
        ("job", serde_json::json!({ "check_run_id": 42 })),
        ("matrix", serde_json::json!({ "node": 18 })),
        ("strategy", Value::Null),
    ]);
    for (text, value) in [
        ("plain", "plain"),
        ("${{ job.check_run_id }}", "42"),
        ("no ${{ job.missing }}!", "no !"),
        ("${{ matrix }}", "Object"),
        ("${{ toJSON(matrix) }}", "{\n  \"node\": 18\n}"),
        ("${{ toJSON(strategy) }}", "null"),
    ] {
        assert_eq!(evaluate(text, &contexts), value, "{text}");
    }
}
