//! The JSON Schema of the policy file and the reader of that file. Both come from the same types
//! and have to accept the same files. Every example in the documentation has to be valid.

use std::path::Path;

use pacegate_engine::model::policy::{GatePolicy, schema};
use proptest::prelude::*;
use serde_json::{Value, json};

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema of draft 2020-12")
}

#[test]
fn every_documented_example_is_a_valid_policy() {
    let validator = validator();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md"))
        .expect("the documentation");
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert_eq!(examples.len(), 3, "three examples");
    for example in examples {
        GatePolicy::from_yaml(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let value: Value = serde_saphyr::from_str(example).expect("YAML");
        validator.validate(&value).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
    let properties = schema()["properties"].as_object().expect("keys").clone();
    for (name, property) in &properties {
        assert!(text.contains(&format!("`{name}")), "docs/policy.md does not document {name}");
        for inner in property["properties"].as_object().into_iter().flat_map(serde_json::Map::keys) {
            assert!(
                text.contains(&format!("`{name}.{inner}`")),
                "docs/policy.md does not document {name}.{inner}"
            );
        }
    }
}

#[test]
fn schema_describes_itself_and_every_key() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let properties = schema["properties"].as_object().expect("keys");
    for (name, property) in properties {
        assert!(property["description"].is_string(), "{name} is not described: {property}");
        assert!(!property["default"].is_null(), "{name} has no default: {property}");
    }
}

/// Checks that schema and reader give the same answer to a file. The file is JSON, which is also
/// YAML.
fn agree(file: &Value) {
    let read = GatePolicy::from_yaml(&file.to_string()).map(|_| ());
    let is_valid = validator().is_valid(file);
    assert_eq!(read.is_ok(), is_valid, "{file}: {read:?}");
}

#[test]
fn schema_and_reader_accept_the_same_files() {
    for file in [
        json!({}),
        json!({"version": 2}),
        json!({"version": "1.5"}),
        json!({"mode": "strict"}),
        json!({"moed": "gate"}),
        json!({"mode": "gate", "comment": "on-findings"}),
        json!({"comment": "sometimes"}),
        json!({"baseline": {"runs": 0}}),
        json!({"baseline": {"runs": 1, "days": -1}}),
        json!({"baseline": {"weeks": 1}}),
        json!({"defaults": {"min_ratio": 0.99}}),
        json!({"defaults": {"min_ratio": 1}}),
        json!({"defaults": {"min_increase": "2 weeks"}}),
        json!({"defaults": {"min_increase": "1.5 h"}}),
        json!({"defaults": {"min_increase": 2.5}}),
        json!({"defaults": {"min_increase": 3}}),
        json!({"defaults": {"min_increase": -3}}),
        json!({"defaults": {"min_increase": ""}}),
        json!({"defaults": {"min_increase": "1.2.3s"}}),
        json!({"defaults": {"min_increase": true}}),
        json!({"stages": [{"match": "a / **", "ignore": true, "min_ratio": 1.5, "budget": "10m"}]}),
        json!({"stages": [{"ignore": true}]}),
        json!({"stages": [{"match": "a", "ignore": "yes please"}]}),
        json!({"stages": [{"match": "a".repeat(1001)}]}),
        json!({"stages": {"match": "a"}}),
        json!({"stages": vec![json!({"match": "a"}); 501]}),
        json!({"aliases": [{"from": "a"}]}),
        json!({"aliases": [{"from": "a", "to": "b"}]}),
        json!({"errors": {"gate": false, "ignore": ["x"]}}),
        json!({"errors": {"ignore": "x"}}),
        json!({"confirm": {"samples": 1}}),
        json!({"confirm": {"samples": 8, "rerun": true}}),
        json!({"confirm": {"samples": 9}}),
        json!([]),
    ] {
        agree(&file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn schema_and_reader_agree_on_any_numbers(
        (version, runs, days, samples) in (0_u32..3, 0_u32..3, 0_u32..3, 0_u32..11),
        (ratio, increase) in (0.0_f64..3.0, "[0-9.]{0,3} ?(ms|s|m|h|d)?"),
    ) {
        agree(&json!({
            "version": version,
            "baseline": {"runs": runs, "days": days},
            "confirm": {"samples": samples},
            "defaults": {"min_ratio": ratio},
        }));
        agree(&json!({"stages": [{"match": "a", "budget": increase}]}));
    }
}
