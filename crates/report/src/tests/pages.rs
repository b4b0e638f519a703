//! The pages: their content, and that no name becomes markup.

use super::*;
use crate::comment::Comment;
use crate::page::{
    ComparisonPage, ErrorPage, Posting, RawTrace, RepositoriesPage, RepositoryRow, RunPage, RunRow, RunsPage,
    Site, Start,
};
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::RunId;
use pacegate_engine::model::note::{Note, Repair};
use pacegate_engine::model::run::{Lineage, PipelineRun, RunResult};
use pacegate_engine::model::stage::{StageError, StageKind, StageSample};
use pacegate_engine::model::time::Timestamp;

const NOW: Timestamp = Timestamp(1_795_348_800_000_000);

fn start() -> Start {
    Start { repo: "OWNER/NAME".into(), otlp_http: "http://127.0.0.1:8080".into() }
}

fn run(i: i64, result: RunResult, lineage: Lineage, pipeline: &str) -> PipelineRun {
    PipelineRun {
        id: RunId(format!("01J{i}")),
        repo: "acme/shop".parse().expect("a name"),
        pipeline: pipeline.into(),
        external_id: None,
        trace_id: None,
        attempt: 1,
        head_sha: format!("{:07x}aa", 0x00ab_c123 + i * 977).parse().expect("a commit"),
        lineage,
        result,
        runner: RunnerClass { os: Some("linux".into()), arch: Some("amd64".into()), labels: vec![] },
        started_at: Timestamp(NOW.0 - i * 3_700_000_000),
        duration_ns: 131_000_000_000 + (i * 7 % 5) * 2_000_000_000,
        workflow_path: None,
        notes: vec![Note::Repaired { repair: Repair::Reversed, spans: 1 }],
    }
}

fn sample(parts: &[&str], from: i64, to: i64) -> StageSample {
    StageSample {
        key: key(parts),
        parent: (parts.len() > 1).then(|| key(&parts[..parts.len() - 1])),
        path: path(parts),
        duration_ns: (to - from) * 1_000_000_000,
        count: 1,
        start_offset_ns: from * 1_000_000_000,
        end_offset_ns: to * 1_000_000_000,
        result: RunResult::Success,
        asynchronous: false,
        kind: StageKind::Work,
        cache: None,
    }
}

fn samples() -> Vec<StageSample> {
    let mut shards = sample(&["CI", "test", "Integration tests", "pytest case"], 104, 136);
    shards.count = 240;
    vec![
        sample(&["CI"], 0, 152),
        sample(&["CI", "lint"], 2, 44),
        sample(&["CI", "lint", "Run clippy"], 6, 43),
        sample(&["CI", "build"], 3, 62),
        sample(&["CI", "build", "Compile"], 8, 60),
        sample(&["CI", "test"], 63, 150),
        sample(&["CI", "test", "Set up job"], 63, 66),
        sample(&["CI", "test", "Unit tests"], 66, 103),
        sample(&["CI", "test", "Integration tests"], 103, 137),
        shards,
        sample(&["CI", "test", "Upload report"], 137, 138),
    ]
}

fn comparison_page(comparison: RunComparison) -> ComparisonPage {
    ComparisonPage {
        site: Site { local_mode: true },
        report: report(comparison),
        candidate: samples(),
        posting: Posting::LocalMode,
        repo_href: "/acme/shop".into(),
        run_href: Some("/acme/shop/runs/01J".into()),
        baseline_href: Some("/acme/shop/runs/01I".into()),
        json_href: Some("/api/v1/comparisons/01J".into()),
    }
}

fn all_pages(comparison: RunComparison, name: &str) -> Vec<(&'static str, String)> {
    let branch = || Lineage::Branch { name: name.to_owned() };
    let row = |i: i64| RunRow {
        run: run(
            i,
            if i == 4 { RunResult::Failure } else { RunResult::Success },
            if i % 3 == 1 { Lineage::PullRequest { number: PrNumber(7) } } else { branch() },
            if i % 5 == 2 { "Nightly" } else { name },
        ),
        href: format!("/acme/shop/runs/{i}"),
        verdict: (i % 3 == 1).then_some(if i == 1 { RunVerdict::Regressed } else { RunVerdict::Pass }),
        comparison_href: (i % 3 == 1).then(|| format!("/acme/shop/comparisons/{i}")),
    };
    let repository = |name: &str, last_verdict| RepositoryRow {
        name: name.into(),
        href: format!("/{name}"),
        runs: 2_993,
        last_run: Some(NOW),
        last_verdict,
    };
    let site = Site { local_mode: true };
    let mut stages = samples();
    stages[7].path = path(&["CI", "test", name]);
    let failed = StageError {
        stage: key(&["CI"]),
        path: path(&["CI", name]),
        signature: "s".into(),
        error_type: name.into(),
        message: name.into(),
        frame: None,
    };
    let runs = |runs| RunsPage {
        history: Vec::new(),
        site,
        repo: "acme/shop".parse().expect("a name"),
        runs,
        older_href: Some("?before=01J".into()),
        start: start(),
    };
    let pages = [
        ("empty", RepositoriesPage { site, repositories: vec![], start: start() }.render()),
        (
            "repositories",
            RepositoriesPage {
                site,
                repositories: vec![
                    repository("acme/shop", Some(RunVerdict::Regressed)),
                    repository("acme/warehouse-inventory-service", Some(RunVerdict::Pass)),
                    repository("acme/docs", None),
                ],
                start: start(),
            }
            .render(),
        ),
        ("no-runs", runs(vec![]).render()),
        ("runs", runs((0..18).map(row).collect()).render()),
        (
            "run",
            RunPage {
                site,
                run: run(1, RunResult::Success, branch(), name),
                repo_href: "/acme/shop".into(),
                stages,
                errors: vec![failed],
                critical_path: vec![key(&["CI"]), key(&["CI", "test"]), key(&["CI", "test", "Unit tests"])],
                trace_href: Some("/trace".into()),
                trace_url: Some("https://jaeger.example/trace/1".into()),
                raw_trace: RawTrace::KeptBy(name.into()),
                comparison_href: None,
            }
            .render(),
        ),
        ("comparison", comparison_page(comparison).render()),
        ("error", ErrorPage { site, status: 404, sentence: "There is no such run.".into() }.render()),
    ];
    pages.into_iter().map(|(name, html)| (name, html.expect("renders"))).collect()
}

#[test]
fn names_never_become_markup() {
    for (page, html) in all_pages(adversarial(), ADVERSARIAL_NAME) {
        for active in ["<img", "<!-- pacegate", "\u{202e}", "<script"] {
            assert!(!html.contains(active), "{active:?} in {page}: {html}");
        }
    }
}

#[test]
fn pages_have_no_scripts_or_resources() {
    for (page, html) in all_pages(comparison(), "CI") {
        assert!(html.starts_with("<!doctype html>"), "{page}");
        for foreign in ["<script", "<link", "src=", "url(", "onclick", "@import"] {
            assert!(!html.contains(foreign), "{foreign} in {page}");
        }
    }
}

#[test]
fn empty_pages_show_first_steps() {
    let pages = all_pages(comparison(), "CI");
    for (page, html) in pages.iter().filter(|(p, _)| ["empty", "no-runs"].contains(p)) {
        assert!(html.contains("pacegate token create --repo OWNER/NAME"), "{page}");
        assert!(html.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{page}");
    }
}

#[test]
fn comparison_page_shows_texts_for_github() {
    let page = comparison_page(comparison());
    let html = page.render().expect("renders");
    let escaped = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">");
    let shown = html.replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&");
    let Comment::Post(source) = page.report.comment() else { panic!("has findings") };
    assert!(escaped(&shown).contains(&source), "{html}");
    assert!(html.contains(&page.report.check().title));
    assert!(html.contains("nothing is posted. These texts would be posted."));
    assert!(html.contains("Integration tests 1.6x slower (+12.4 s), confirmed; 1 new error"));
    assert!(html.contains("240x") && html.contains("class=\"spark\""));
}

#[test]
fn comparison_page_shows_posting_progress() {
    let said = |posting| ComparisonPage { posting, ..comparison_page(fine()) }.render().expect("renders");
    assert!(said(Posting::Posted(NOW)).contains("Posted on 2026-11-22 12:00 UTC."));
    assert!(said(Posting::Queued).contains("About to be posted."));
    assert!(said(Posting::NoPullRequest).contains("no pull request"));
    assert!(said(Posting::Superseded).contains("A newer comparison"));
    assert!(said(Posting::Queued).contains("Nothing to report, so none is created."));
}
