//! Tests with the reports of real tools (`tests/samples/reports`) and with invalid ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::part::Start;
use super::*;
use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{Attributes, Dropped, SpanKind, SpanStatus};

const HOUR_MS: i64 = 3_600_000;

fn limits() -> Limits {
    Limits::default()
}

fn report(text: &str) -> Report {
    read(text.as_bytes(), limits()).unwrap_or_else(|error| panic!("{error}"))
}

/// One line for each part: name, milliseconds and outcome, indented by depth.
fn outline(report: &Report) -> Vec<String> {
    let list = &report.parts.list;
    let depth = |mut at: usize| std::iter::from_fn(|| list[at].parent.inspect(|p| at = *p)).count();
    let line = |(at, part): (usize, &part::Part)| {
        let ended = match &part.outcome {
            PartOutcome::Passed => String::new(),
            PartOutcome::Skipped => " skipped".to_owned(),
            PartOutcome::Failed(failure) => format!(" {}: {}", failure.kind, failure.message),
        };
        let ms = part.duration_ns.unwrap_or(-1) / 1_000_000;
        format!("{}{} {ms}{ended}", "  ".repeat(depth(at)), part.name)
    };
    list.iter().enumerate().map(line).collect()
}

/// The command that wrote the reports.
fn command() -> Span {
    command_between(0, HOUR_MS)
}

fn command_between(from_ms: i64, to_ms: i64) -> Span {
    Span {
        trace_id: TraceId::from_bytes(&[1; 16]).expect("not zero"),
        span_id: SpanId::from_bytes(&[1; 8]).expect("not zero"),
        parent_span_id: None,
        name: "command".to_owned(),
        kind: SpanKind::Internal,
        start_ns: from_ms * 1_000_000,
        end_ns: to_ms * 1_000_000,
        status: SpanStatus::Unset,
        attributes: Attributes::default(),
        events: vec![],
        links: vec![],
        dropped: Dropped::default(),
        trace_state: String::new(),
        scope: Arc::default(),
        resource: Arc::default(),
    }
}

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/samples/reports/", $name))
    };
}

#[test]
fn reports_of_real_tools_are_read() {
    let mut with_sample = BTreeSet::new();
    for (text, format, expected) in [
        (
            sample!("pytest-9.2-junit.xml"),
            "JUnit XML",
            "pytest 115|  test_shop.TestOrders 21|    test_create 21|    test_cancel 0 ValueError: order 17 is shipped|  \
             test_shop 32|    test_stock[1] 11|    test_stock[2] 21|    test_label 0 skipped",
        ),
        (
            sample!("surefire-3.2.xml"),
            "JUnit XML",
            "shop.OrdersTest 189|  prints 0 skipped|  cancels 43 java.lang.IllegalStateException: order 17 is \
             shipped|  creates 27",
        ),
        (
            sample!("node-20-junit.xml"),
            "JUnit XML",
            "orders 31|  creates 25|  cancels 4 test failure: order 17 is shipped|  prints 0 skipped|stock 0",
        ),
        (
            sample!("go-test.jsonl"),
            "go test -json",
            "example.com/shop/calc 77|  TestSum 20|example.com/shop/slow 106|  TestWait 100|  TestTable 51|    small \
             30|    large 50 test failure: calc_test.go:9: got 3, want 4|  TestSkipped 0 skipped",
        ),
        (
            sample!("libtest.jsonl"),
            "libtest JSON",
            "creates 30|prints 0 skipped|cancels 472 panic: order 17 is shipped",
        ),
        (
            sample!("pytest-report-log.jsonl"),
            "pytest's report-log",
            "test_shop.py 53|  TestOrders 21|    test_create 20|    test_cancel 0 ValueError: order 17 is \
             shipped|  test_stock[1] 11|  test_stock[2] 20|  test_label 0 skipped",
        ),
        (
            sample!("pytest-json-report.json"),
            "pytest's JSON report",
            "test_shop.py 53|  TestOrders 21|    test_create 20|    test_cancel 0 ValueError: order 17 is \
             shipped|  test_stock[1] 11|  test_stock[2] 20|  test_label 0 skipped",
        ),
        (sample!("cargo-1.95-timings.html"), "cargo's --timings", "leaf 130|demo demo bin 190"),
        (sample!("ninja.ninja_log"), "a ninja log", "a.o 118|b.o 205|app 63"),
        (
            sample!("viztracer.json"),
            "Chrome's trace events",
            "builtins.exec 34|  <module> (/src/v.py:1) 34|    build (/src/v.py:4) 34|      compile (/src/v.py:2) 20|        time.sleep 20|      link (/src/v.py:3) 13|        time.sleep 13",
        ),
    ] {
        let recognized = readers::recognize(text.trim_ascii_start().as_bytes()).map(|reader| reader.name);
        let report = report(text);
        assert_eq!((recognized, outline(&report).join("|").as_str()), (Some(format), expected));
        with_sample.insert(format);
        let spans = report.spans(&command(), "");
        assert_eq!(spans.len(), report.len());
        assert!(spans.iter().all(|span| span.start_ns >= command().start_ns), "{format}");
        assert!(spans.iter().all(|span| span.end_ns <= command().end_ns), "{format}");
    }
    let names: BTreeSet<&str> = readers::READERS.iter().map(|reader| reader.name).collect();
    assert_eq!(names, with_sample, "every reader needs a sample here");
}

#[test]
fn documentation_names_every_reader_and_extension() {
    let documentation = include_str!("../../../../docs/exec.md");
    for reader in readers::READERS {
        let cell = format!("| {} |", reader.name);
        assert!(documentation.contains(&cell), "docs/exec.md has no table row with {cell:?}");
    }
    let action = include_str!("../../../../action/src/archive/find_files.ts");
    let pattern = action.lines().find(|line| line.starts_with("const REPORT = ")).expect("a pattern");
    for extension in extensions() {
        assert!(documentation.contains(&format!("`.{extension}`")), "docs/exec.md: .{extension}");
        assert!(pattern.split(['(', '|', ')']).any(|listed| listed == extension), "{pattern}: {extension}");
    }
}

#[test]
fn failed_test_becomes_span_with_exception() {
    let spans = report(sample!("surefire-3.2.xml")).spans(&command(), "x");
    let failed = spans.iter().find(|span| span.name == "cancels").expect("the test");
    assert_eq!(failed.status, SpanStatus::Error("order 17 is shipped".into()));
    let exception = &failed.events[0].attributes;
    assert_eq!(exception.text("exception.type").as_deref(), Some("java.lang.IllegalStateException"));
    assert!(exception.text("exception.stacktrace").expect("a stack").contains("OrdersTest.java:5"));
    assert_eq!(failed.attributes.text("test.case.name").as_deref(), Some("cancels"));
    assert_eq!(failed.attributes.text("test.case.result.status").as_deref(), Some("fail"));
    assert_eq!(failed.attributes.text("pacegate.report.laid_out").as_deref(), Some("true"));
    let again = report(sample!("surefire-3.2.xml")).spans(&command(), "x");
    assert_eq!(spans, again, "the same report of the same command has the same ids");
    let other = report(sample!("surefire-3.2.xml")).spans(&command(), "y");
    assert!(other.iter().all(|span| spans.iter().all(|one| one.span_id != span.span_id)));
}

#[test]
fn times_outside_the_command_are_moved() {
    let suite = |stamp: &str| {
        format!(
            "<testsuite name='s' time='4' timestamp='{stamp}'><testcase name='a' time='1'/>\
             <testcase name='b' time='9'/><testcase name='c' time='1'/></testsuite>"
        )
    };
    // Milliseconds after the command's beginning.
    let at = |text: &str, begin_ms: i64| {
        let command = command_between(begin_ms, begin_ms + 10_000);
        let spans = report(text).spans(&command, "");
        let ms = |ns: i64| (ns - command.start_ns) / 1_000_000;
        spans.iter().map(|span| (ms(span.start_ns), ms(span.end_ns))).collect::<Vec<_>>()
    };
    // A test of 9 s in a suite of 4 s ran in parallel: it begins with the suite, not earlier.
    let inside = [(3_000, 7_000), (3_000, 4_000), (3_000, 12_000), (6_000, 7_000)];
    assert_eq!(at(&suite("1970-01-01T01:00:03Z"), HOUR_MS), inside);
    assert_eq!(at(&suite("1970-01-01T01:00:03"), HOUR_MS), inside, "no zone is UTC");
    let moved = [(0, 4_000), (0, 1_000), (0, 9_000), (3_000, 4_000)];
    assert_eq!(at(&suite("1970-01-01T03:00:03"), HOUR_MS), moved, "a local time");
    assert_eq!(at(&suite("yesterday"), HOUR_MS), moved, "no time");
}

#[test]
fn chrome_events_are_nested_by_time() {
    let text = r#"{"otherData":{"profile_start_ts":0},"traceEvents":[
        {"ph":"M","name":"thread_name","pid":1,"tid":1,"args":{"name":"x"}},
        {"ph":"X","name":"outer","pid":1,"tid":1,"ts":1000,"dur":9000},
        {"ph":"X","name":"inner","pid":1,"tid":1,"ts":2000,"dur":3000},
        {"ph":"X","name":"other lane","pid":1,"tid":"two","ts":2000,"dur":1000},
        {"ph":"B","name":"begun","pid":1,"tid":1,"ts":6000},{"ph":"E","pid":1,"tid":1,"ts":8000},
        {"ph":"X","name":"Total Frontend","pid":1,"tid":9,"ts":0,"dur":99000},
        {"ph":"B","name":"never ends","pid":1,"tid":1,"ts":8500}]}"#;
    assert_eq!(outline(&report(text)), ["outer 9", "  inner 3", "  begun 2", "other lane 1"]);
    let cut = r#"[{"ph":"X","name":"a","ts":5,"dur":2000},{"ph":"X","name":"b""#;
    assert_eq!(outline(&report(cut)), ["a 2"], "the list of a killed process has no end");
    let few = read(text.as_bytes(), Limits { spans: 2, ..limits() }).expect("a trace");
    assert_eq!((outline(&few).join("|").as_str(), few.left_out()), ("outer 9|  inner 3", 2), "the longest");
}

#[test]
fn suites_failures_and_slowest_cases_are_kept() {
    let case = |n: usize| match n {
        0 => "<testcase name='fails'><failure message='no'/></testcase>".to_owned(),
        n => format!("<testcase name='case {n}' time='{n}'/>"),
    };
    let cases: String = (0..10).map(case).collect();
    let twice = report(&format!("<testsuite name='s'>{cases}</testsuite>"));
    let mut reports = vec![(String::new(), twice); 2];
    keep_failed_and_slowest(&mut reports, 5);
    let spans: Vec<Span> = reports[0].1.spans(&command(), "");
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["s", "fails", "case 8", "case 9"]);
    assert_eq!(spans[0].attributes.text("pacegate.report.left_out").as_deref(), Some("7"));
    assert_eq!(spans[0].end_ns - spans[0].start_ns, 45_000_000_000, "a suite keeps its duration");
    assert_eq!(reports.iter().map(|(_, report)| report.left_out()).sum::<usize>(), 15);
}

#[test]
fn go_package_with_build_error_failed() {
    let lines = concat!(
        "{\"ImportPath\":\"shop\",\"Action\":\"build-output\",\"Output\":\"undefined: x\"}\n",
        "# shop\n",
        "{\"Action\":\"start\",\"Package\":\"shop\"}\n",
        "{\"Action\":\"output\",\"Package\":\"shop\",\"Output\":\"FAIL\\tshop [build failed]\\n\"}\n",
        "{\"Action\":\"fail\",\"Package\":\"shop\",\"Elapsed\":0,\"FailedBuild\":\"shop\"}\n",
        "{\"Action\":\"start\",\"Package\":\"empty\"}\n{\"Action\":\"skip\",\"Package\":\"empty\",\"Elapsed\":0}\n",
    );
    assert_eq!(outline(&report(lines)), ["shop 0 package failure: "]);
}

#[test]
fn impossible_times_are_ignored() {
    for time in ["NaN", "inf", "-1", "1e300", "99999999999", "", "soon"] {
        let text = format!("<testsuite name='s'><testcase name='a' time='{time}'/></testsuite>");
        assert_eq!(outline(&report(&text)), ["s 0", "  a 0"], "{time}");
    }
    let text = r#"{"traceEvents":[{"ph":"X","name":"a","ts":1e300,"dur":1},{"ph":"X","name":"b","ts":-1,"dur":1},
        {"ph":"X","name":"c","ts":1,"dur":-1},{"ph":"X","name":"d","ts":1,"dur":1000}]}"#;
    assert_eq!(outline(&report(text)), ["d 1"]);
    assert_eq!(outline(&report("<testsuite name='s' time='1,234.5'/>")), ["s 1234500"], "Surefire's commas");
    let far = report("<testsuite name='s' timestamp='9999-12-31T23:59:59Z' time='1'/>");
    assert_eq!(far.parts.list[0].start, Start::Unknown, "beyond 64 bits of nanoseconds");
}

#[test]
fn entities_are_never_expanded() {
    let laughs = "<?xml version='1.0'?><!DOCTYPE t [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>\
                  <!ENTITY f SYSTEM 'file:///etc/passwd'>]>\
                  <testsuite name='&b;'><testcase name='&lt;x&gt; &#65;'><failure message='m'>&b;&f;&amp;&#x42;\
                  </failure></testcase></testsuite>";
    let report = report(laughs);
    assert_eq!(outline(&report), ["&b; 0", "  <x> A 0 test failure: m"]);
    let PartOutcome::Failed(failure) = &report.parts.list[1].outcome else { panic!("it failed") };
    assert_eq!(failure.stack, "&b;&f;&B");
}

#[test]
fn oversized_empty_and_unknown_files_are_refused() {
    let fails = |text: &str| read(text.as_bytes(), limits()).expect_err("refused").to_string();
    assert!(fails(&"<testsuite>".repeat(100_000)).contains("nested deeper than 1000"));
    let many = format!("<testsuite>{}</testsuite>", "<testcase/>".repeat(60_000));
    assert!(fails(&many).contains("more than 50000 parts"));
    let nested = format!("{}{}", "<testsuite>".repeat(1_000), "</testsuite>".repeat(1_000));
    assert_eq!(report(&nested).spans(&command(), "").len(), 1_000, "deep, and not too many");
    let deep_json = format!("{{\"tests\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(fails(&deep_json).starts_with("it is not pytest's JSON report"), "{}", fails(&deep_json));
    for (text, expected) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("run,stage\n", "it is not a report in a known format"),
        ("{\"a\":1}", "it is not a report in a known format"),
        ("[1,2]", "it is not a report in a known format"),
        ("<html><body>hello</body></html>", "it is not a report in a known format"),
        ("<testsuites/>", "holds no duration"),
        ("<testsuite name='s'>", "before its last element"),
        ("<testsuite name='s'><", "it is not JUnit XML"),
        ("{\"traceEvents\":[]}", "holds no duration"),
        ("# ninja log v7\n", "holds no duration"),
        ("const UNIT_DATA = [{]", "it is not a report in a known format"),
        ("<html>const UNIT_DATA = [{\"name\":7}];", "it is not cargo's --timings"),
        ("\u{1f}\u{8b}", "it is not a report in a known format"),
    ] {
        assert!(fails(text).contains(expected), "{text}: {}", fails(text));
    }
    assert!(read(&[0x1f, 0x8b, 8, 0], limits()).expect_err("cut").to_string().contains("gzip"));
}

#[test]
fn compressed_report_is_read() {
    let mut gzip = Vec::new();
    let text = sample!("surefire-3.2.xml").as_bytes();
    flate2::read::GzEncoder::new(text, flate2::Compression::fast()).read_to_end(&mut gzip).expect("memory");
    assert_eq!(read(&gzip, limits()).expect("a report").len(), 4);
}

/// The samples that the property test damages.
const SAMPLES: [&str; 8] = [
    sample!("pytest-9.2-junit.xml"),
    sample!("node-20-junit.xml"),
    sample!("go-test.jsonl"),
    sample!("libtest.jsonl"),
    sample!("pytest-json-report.json"),
    sample!("cargo-1.95-timings.html"),
    sample!("ninja.ninja_log"),
    sample!("viztracer.json"),
];

proptest! {
    #[test]
    fn damaged_report_never_panics(
        which in 0..SAMPLES.len(),
        from in 0_usize..4_000,
        length in 0_usize..200,
        instead in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = SAMPLES[which].as_bytes().to_vec();
        let from = from.min(bytes.len());
        let to = (from + length).min(bytes.len());
        bytes.splice(from..to, instead);
        if let Ok(report) = read(&bytes, limits()) {
            let spans = report.spans(&command(), "");
            prop_assert!(spans.iter().all(|span| span.end_ns >= span.start_ns));
            prop_assert!(spans.iter().all(|span| span.name.chars().count() <= 300));
        }
    }
}
