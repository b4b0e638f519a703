//! Tests of reading histories and of the errors about bad rows.

use super::*;

const HEADER: &str = "run,started_at,stage,duration_s,result,runner,cache,note\n";

fn read_text(text: &str, limits: CsvLimits) -> Result<Vec<MeasuredRun>, CsvError> {
    read(text.as_bytes(), &"local/history".parse().expect("a name"), "ci", limits)
}

#[test]
fn rows_become_runs_oldest_first() {
    let text = format!(
        "\u{feff}{HEADER}b,2026-01-02T00:00:00Z,ci / test / unit,2.5,success,any CPU,hit,x\n\
         abcdef01,2026-01-01T00:00:00+01:00,ci / test / unit,3,,,,\n\
         \n\
         b,2026-01-02T00:00:00Z,ci,9,failed,,miss,\n\
         b,2026-01-02T00:00:00Z,\"lint, fast\",1e-3,skipped,,,\n"
    );
    let runs = read_text(&text, CsvLimits::default()).expect("a history");
    assert_eq!(runs.iter().map(|r| r.run.id.0.as_str()).collect::<Vec<_>>(), ["abcdef01", "b"]);
    assert_eq!(runs[0].run.head_sha.as_str(), "abcdef01");
    // hashlib.sha256(b"b").hexdigest()[:40]
    assert_eq!(runs[1].run.head_sha.as_str(), "3e23e8160039594a33894f6564e1b1348bbd7a00");
    assert_eq!((runs[0].run.result, runs[1].run.result), (RunResult::Success, RunResult::Failure));
    let stages: Vec<(Vec<&str>, i64, Option<&str>)> = runs[1]
        .stages
        .iter()
        .map(|s| {
            let path = s.path.iter().map(String::as_str).collect();
            (path, s.duration_ns, s.parent.as_ref().map(StageKey::as_str))
        })
        .collect();
    assert_eq!(
        stages,
        [
            // `ci / test` has no row of its own and gets none; `ci` has, if in this run alone.
            (vec!["ci", "test", "unit"], 2_500_000_000, Some("v1|ci")),
            (vec!["ci"], 9_000_000_000, None),
            (vec!["lint, fast"], 1_000_000, None),
        ]
    );
    assert_eq!(runs[0].stages[0].parent, runs[1].stages[0].parent, "the same in every run");
}

#[test]
fn bad_row_is_named_by_its_line() {
    let good = "a,2026-01-01T00:00:00Z,build,5,,,,";
    for (row, expected) in [
        ("a,2026-01-01T00:00:00Z,test,x,,,,", "line 3: `duration_s` is `x`; a number of seconds"),
        ("a,2026-01-01T00:00:00Z,test,NaN,,,,", "line 3: `duration_s` is `NaN`; 0 to 1e8 seconds"),
        ("a,2026-01-01T00:00:00Z,test,inf,,,,", "line 3: `duration_s` is `inf`; 0 to"),
        ("a,2026-01-01T00:00:00Z,test,-1,,,,", "line 3: `duration_s` is `-1`; 0 to"),
        ("a,2026-01-01T00:00:00Z,test,,,,,", "line 3: `duration_s` is empty"),
        ("a,yesterday,test,1,,,,", "line 3: `started_at` is `yesterday`; a time such as"),
        (
            "a,2026-01-01T00:00:01Z,test,1,,,,",
            "line 3: `started_at` is 2026-01-01T00:00:01Z, but 2026-01-01T00:00:00Z in the run's first row on line 2",
        ),
        ("a,2026-01-01T00:00:00Z,build,5,,,,", "line 3: the run has a row of this stage already, on line 2"),
        ("a,2026-01-01T00:00:00Z,ci /  / x,1,,,,", "line 3: the stage `ci /  / x` has an empty part"),
        ("a,2026-01-01T00:00:00Z,,1,,,,", "line 3: `stage` is empty"),
        (",2026-01-01T00:00:00Z,test,1,,,,", "line 3: `run` is empty"),
        ("a,2026-01-01T00:00:00Z,test,1,fine,,,", "line 3: `result` is `fine`; success, failure"),
        ("a,2026-01-01T00:00:00Z,test,1,,,cold,", "line 3: `cache` is `cold`; hit, miss or nothing"),
        ("a,2026-01-01T00:00:00Z,test,1", "line 3: 4 columns, where the header has 8"),
    ] {
        let error = read_text(&format!("{HEADER}{good}\n{row}\n"), CsvLimits::default());
        let text = error.expect_err(row).to_string();
        assert!(text.starts_with(expected), "{row}: {text}");
    }
    let bad = [HEADER.as_bytes(), b"\xff,2026-01-01T00:00:00Z,build,5,,,,\n"].concat();
    let repo = "local/history".parse().expect("a name");
    let error = read(&bad, &repo, "ci", CsvLimits::default()).expect_err("no text");
    assert_eq!(error.to_string(), "line 2: not UTF-8");
}

#[test]
fn bad_header_error_lists_the_columns() {
    for (text, expected) in [
        ("", "the column `run` is missing"),
        ("run,started_at,stage\n", "line 1: the column `duration_s` is missing; the columns are run,"),
        ("run,run,started_at,stage,duration_s\n", "line 1: the column `run` is there twice"),
        (HEADER, "it holds no row"),
    ] {
        let error = read_text(text, CsvLimits::default()).expect_err("no history").to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn input_above_each_limit_is_refused() {
    let rows = "a,2026-01-01T00:00:00Z,build,5,,,,\na,2026-01-01T00:00:00Z,test,5,,,,\n";
    let whole = CsvLimits::default();
    for (limits, expected) in [
        (CsvLimits { rows: 1, ..whole }, "it holds more than 1 rows"),
        (CsvLimits { stages: 1, ..whole }, "it holds more than 1 different stages"),
        (CsvLimits { bytes: 20, ..whole }, "it holds more than 20 bytes"),
        (CsvLimits { name_bytes: 4, ..whole }, "line 2: `started_at` is longer than 4 bytes"),
    ] {
        let error = read_text(&format!("{HEADER}{rows}"), limits).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}
