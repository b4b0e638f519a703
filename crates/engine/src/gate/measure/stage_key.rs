//! Gives a span a name that is the same in every run. It chooses between the span's names, replaces the
//! varying parts by placeholders and limits the length. It does not know the tree of spans.
//!
//! The first placeholder that fits is used: `{uuid}`, `{time}`, `{hex}` (7 digits and more), `{ip}`,
//! `{tmp}`, `{n}`. Time and memory are linear in the length of the name.

use sha2::{Digest, Sha256};

use super::template::{Numbers, template};
use crate::model::span::Span;

/// Longest name of a stage, in characters.
pub const MAX_NAME_CHARS: usize = 120;

/// Largest number of passes over a name.
const MAX_PASSES: usize = 4;

/// Attributes that are preferred to the span's own name, the best first.
const NAME_ATTRIBUTES: [&str; 5] = [
    "cicd.pipeline.task.name",
    "stage.name",
    "test.case.name",
    "http.route",
    "messaging.destination.template",
];

/// Attributes that name a span without a name of its own.
const SUBSTITUTES: [&str; 4] = ["operation", "test.type", "environment", "messaging.operation"];

/// The stable name of a span among its siblings.
#[must_use]
pub fn stage_name(span: &Span) -> String {
    let substitute = || span.attributes.first_text(&SUBSTITUTES).filter(|_| span.name.trim().is_empty());
    match span.attributes.first_text(&NAME_ATTRIBUTES).or_else(substitute) {
        Some(name) => stable_name(&name),
        None => stable_name(&span.name),
    }
}

/// A name with its varying parts replaced, on one line, at most [`MAX_NAME_CHARS`] long. A longer name
/// ends with a hash of the whole, so that two long names stay different.
#[must_use]
pub fn stable_name(name: &str) -> String {
    let mut name = stable_once(name);
    // A placeholder can make its neighbour a varying part. Each further pass removes a digit, and
    // nearly every name is final after the first pass.
    for _ in 0..MAX_PASSES {
        let again = stable_once(&name);
        if again == name {
            break;
        }
        name = again;
    }
    if name.is_empty() { "unnamed".to_owned() } else { bounded(&name) }
}

fn stable_once(name: &str) -> String {
    // Control characters become blanks, so they are trimmed like blanks.
    let blank = |c: char| c.is_whitespace() || c.is_control();
    template(name.trim_matches(blank), Numbers::AsNames).trim_matches(blank).to_owned()
}

fn bounded(name: &str) -> String {
    const HASH_CHARS: usize = 8;
    if name.char_indices().nth(MAX_NAME_CHARS).is_none() {
        return name.to_owned();
    }
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    let head: String = name.chars().take(MAX_NAME_CHARS - HASH_CHARS - 1).collect();
    format!("{head}\u{2026}{}", &hash[..HASH_CHARS])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stable_name_is_idempotent() {
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        let long = format!("\u{0}091:12) {}", "at run_main:164:12 ".repeat(9));
        for name in [long.as_str(), &format!("{uuid}.5"), &format!("a {uuid}/4"), "\u{1}7-x\u{2}"] {
            let stable = stable_name(name);
            assert_eq!(stable_name(&stable), stable, "of {name:?}");
        }
        assert_eq!(stable_name("\u{0}091:12"), "{n}:{n}");
    }

    #[test]
    fn varying_parts_become_placeholders() {
        for (name, expected) in [
            ("pipeline-execution-8812", "pipeline-execution-{n}"),
            ("pipeline-execution-pipeline-123", "pipeline-execution-pipeline-{n}"),
            ("job 550e8400-e29b-41d4-a716-446655440000 done", "job {uuid} done"),
            ("deploy-550E8400-E29B-41D4-A716-446655440000", "deploy-{uuid}"),
            ("backup 2026-11-22T12:00:01.250Z", "backup {time}"),
            ("backup-2026-11-22T12:00:01+02:00-full", "backup-{time}-full"),
            ("backup 2026-11-22 12:00:01 full", "backup {time} full"),
            ("nightly-2026-11-22", "nightly-{time}"),
            ("nightly-20261122T120001Z", "nightly-{time}"),
            ("at 12:00:01", "at {time}"),
            ("checkout 3f2a91c", "checkout {hex}"),
            ("image@sha256:9f86d081884c7d659a2feaa0c55ad015", "image@sha256:{hex}"),
            ("read 0x7ffe12ab", "read {hex}"),
            ("GET 10.0.12.7:8080/health", "GET {ip}:{n}/health"),
            ("ping 2001:db8:0:1::17", "ping {ip}"),
            ("write /tmp/tmpab12/out.txt twice", "write {tmp} twice"),
            ("write '/var/folders/zz/x y'", "write '{tmp} y'"),
            (r"open C:\Users\ci\AppData\Local\Temp\x1.log", "open {tmp}"),
            ("build_77", "build_{n}"),
            ("users/42/orders", "users/{n}/orders"),
            ("PR#77", "PR#{n}"),
            ("8812", "{n}"),
            ("8812-build", "{n}-build"),
            ("run 8812345678", "run {n}"),
        ] {
            assert_eq!(stable_name(name), expected, "{name}");
        }
    }

    #[test]
    fn names_and_matrix_values_stay() {
        for name in [
            "node 18",
            "shard 1/4",
            "test (ubuntu-22.04, 18)",
            "test (18, linux)",
            "sha256",
            "python3",
            "python-3.12",
            "release 1.4.2",
            "e2e",
            "v2",
            "x86_64",
            "build x86_64-linux",
            "k8s-deploy",
            "defaced",
            "effaced cabbage",
            "12 tests",
            "git-clone",
            "/usr/bin/true",
            "std::vector::push",
            "构建镜像",
        ] {
            assert_eq!(stable_name(name), name);
        }
    }

    #[test]
    fn attributes_replace_or_supply_the_name() {
        use crate::gate::tests::fixture::SpanBuilder;
        for (name, key, expected) in [
            ("stage-build", "stage.name", "other"),
            ("build-compile", "operation", "build-compile"),
            (" ", "operation", "other"),
            ("", "test.type", "other"),
            ("", "environment", "other"),
            ("", "unknown", "unnamed"),
        ] {
            let span = SpanBuilder::new(1, name).attributes(&[(key, "other")]).build();
            assert_eq!(stage_name(&span), expected, "{name} {key}");
        }
        let number = SpanBuilder::new(1, "shard").int("cicd.pipeline.task.name", 18).build();
        assert_eq!(stage_name(&number), "{n}", "an integer in place of text");
    }

    #[test]
    fn unusable_name_has_a_substitute() {
        assert_eq!(stable_name(""), "unnamed");
        assert_eq!(stable_name(" \0\n "), "unnamed");
        assert_eq!(stable_name("a\0b\nc"), "a b c");
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = |end: &str| stable_name(&format!("{}{end}", "構".repeat(200)));
        assert_eq!(long("x").chars().count(), MAX_NAME_CHARS);
        assert_ne!(long("x"), long("y"));
        assert_eq!(stable_name(&"z".repeat(MAX_NAME_CHARS)), "z".repeat(MAX_NAME_CHARS));
    }

    #[test]
    fn huge_name_takes_linear_time() {
        // Quadratic work on 250,000 bytes would be 10^11 steps, and the test would not end.
        for part in [
            "1",
            "a1",
            "-",
            "1-",
            "1:",
            "/tmp/",
            "'",
            "\"a",
            "0x",
            "1.",
            "f:",
            " ",
            "2026-11-22",
            "構",
            "C:\\",
        ] {
            let name = part.repeat(250_000 / part.len());
            assert!(stable_name(&name).chars().count() <= MAX_NAME_CHARS);
            assert!(!template(&name, Numbers::AsValues).is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_bounded_name(name in "\\PC{0,300}") {
            prop_assert!(stable_name(&name).chars().count() <= MAX_NAME_CHARS);
        }

        #[test]
        fn run_number_never_makes_a_new_stage(a in 0_u64..u64::MAX, b in 0_u64..u64::MAX) {
            prop_assert_eq!(stable_name(&format!("build-{a}")), stable_name(&format!("build-{b}")));
        }
    }
}
