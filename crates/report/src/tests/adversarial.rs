//! Adversarial names in every place for a name, read by a Markdown parser that resembles GitHub's. The
//! structure of the output has to be the same for all names, and nothing in a name may have an effect.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::*;
use crate::check::{NotJudged, WaitedRun, WaitedState, Waiting, gave_up, pending};
use crate::comment::{Comment, MARKER};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::reason::{ErrorReason, ExclusionReason, StageFact};

/// Known attacks, and syntax that only GitHub has.
const FRAGMENTS: [&str; 56] = [
    "@octocat",
    "@org/team",
    "#1",
    "GH-1",
    "owner/repo#1",
    "owner/repo@0123456789abcdef0123456789abcdef01234567",
    "0123456789abcdef0123456789abcdef01234567",
    "deadbeef",
    "<img src=x onerror=alert(1)>",
    "<!--",
    "-->",
    "<!-- pacegate:comment:v1 -->",
    "</code>",
    "</details>",
    "</summary>",
    "<br>",
    "&lt;!--",
    "&#64;octocat",
    "&commat;octocat",
    "|",
    "\\|",
    "`",
    "``",
    "```",
    "~~~",
    "](http://e.example)",
    "[x](http://e.example)",
    "![x](http://e.example/x.png)",
    "[x]: http://e.example",
    "[^1]",
    "[^1]: note",
    "[x]",
    "[[wiki]]",
    "> [!WARNING]",
    "https://e.example/x",
    "http://e.example",
    "ftp://e.example",
    "www.e.example",
    "mallory@e.example",
    "mailto:mallory@e.example",
    "$x^2$",
    "$$",
    "$`x`$",
    ":tada:",
    ":+1:",
    "**b**",
    "__u__",
    "~~s~~",
    "\n\n# h\n\n",
    "\n---\n",
    "\n===\n",
    "\r\n- [ ] task\r\n",
    "\u{202e}txt.exe\u{2066}",
    "\u{200b}\u{feff}\u{0}",
    "\u{1b}[31mred",
    "\\",
];

fn github_options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH
}

/// Every element that is not text, in order, and the texts that GitHub would act on. The parser does not
/// know GitHub's links for bare addresses; [`active_text`] finds those.
fn structure_of(markdown: &str) -> (Vec<String>, Vec<String>) {
    let (mut elements, mut acting) = (Vec::new(), Vec::new());
    let mut in_code = false;
    let mut text = String::new();
    for event in Parser::new_ext(markdown, github_options()) {
        match event {
            // A name is a code span or a `code` element, depending on its characters.
            Event::InlineHtml(html) if &*html == "<code>" => in_code = true,
            Event::InlineHtml(html) if &*html == "</code>" => in_code = false,
            Event::Text(_) if in_code => {}
            Event::Text(part) => text.push_str(&part),
            Event::Code(_) => text.push(' '),
            other => {
                acting.extend(active_text(&std::mem::take(&mut text)));
                elements.push(match other {
                    Event::Start(Tag::Link { dest_url, .. }) => format!("link to {dest_url}"),
                    other => format!("{other:?}"),
                });
            }
        }
    }
    acting.extend(active_text(&text));
    (elements, acting)
}

/// The text, if it has mentions, references, commits, emoji or addresses.
fn active_text(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let follows = |i: usize, wanted: fn(&char) -> bool| chars.get(i + 1).is_some_and(wanted);
    let single = (0..chars.len()).any(|i| match chars[i] {
        '@' => follows(i, char::is_ascii_alphanumeric),
        '#' => follows(i, char::is_ascii_digit),
        ':' => {
            let word: String = chars[i + 1..]
                .iter()
                .take_while(|c| c.is_ascii_alphanumeric() || "_+-".contains(**c))
                .collect();
            let closed = chars.get(i + 1 + word.len()) == Some(&':');
            closed && !word.is_empty() && word.chars().any(|c| !c.is_ascii_digit())
        }
        _ => false,
    });
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| {
        let is_commit =
            (7..=40).contains(&word.len()) && word.bytes().all(|b| b"0123456789abcdef".contains(&b));
        let of_issue = word
            .to_ascii_lowercase()
            .strip_prefix("gh-")
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
        is_commit || of_issue
    });
    (single || words || text.contains("://") || text.contains("www.")).then(|| text.to_owned())
}

/// All our Markdown, with this text in every place for untrusted text.
fn rendered(name: &str) -> Vec<String> {
    let comparison = named(name);
    let mut decided = comparison.clone();
    decided.stages[2].decision = Some(super::decided::accepted(name, name));
    decided.errors[1].decision = Some(super::decided::accepted(name, name));
    let head = comparison.head_sha.clone();
    let run = WaitedRun { name: name.into(), state: WaitedState::Queued };
    let waiting = Waiting { runs: vec![run; 3], collected: vec![name.into()], ..Waiting::default() };
    let still =
        NotJudged::StillRunning { runs: vec![name.into(); 2], within: std::time::Duration::from_mins(5) };
    let mut all = vec![pending(&head, &waiting).summary, gave_up(&head, &still).summary];
    for comparison in [comparison, decided] {
        let report = report(comparison);
        let check = report.check();
        all.extend([check.summary, check.text]);
        match report.comment() {
            Comment::Post(text) | Comment::ResolveOnly(text) => all.push(text),
            Comment::Silent => {}
        }
    }
    all
}

/// The same for titles and annotations, where GitHub reads no markup.
fn plain(name: &str) -> Vec<String> {
    let check = report(named(name)).check();
    let run = WaitedRun { name: name.into(), state: WaitedState::Queued };
    let waiting = Waiting { runs: vec![run; 3], ..Waiting::default() };
    let waiting = pending(&named(name).head_sha, &waiting);
    let annotations = check.annotations.into_iter().flat_map(|a| [a.title, a.message]);
    [check.title, waiting.title].into_iter().chain(annotations).collect()
}

fn named(name: &str) -> RunComparison {
    let mut comparison = comparison();
    for stage in &mut comparison.stages {
        stage.path = path(&[name, name, name]);
        stage.reason = vec![StageFact::Text(name.into())];
        stage.location = Some(Location { path: name.into(), line: 3 });
    }
    comparison.stages[5].verdict = StageVerdict::NotComparable;
    for error in &mut comparison.errors {
        error.path = path(&[name]);
        error.error_type = name.into();
        error.message = name.into();
        error.reason = Some(ErrorReason::Text(name.into()));
        error.location = Some(Location { path: name.into(), line: 3 });
    }
    comparison.baseline.excluded[0].reason = ExclusionReason::Text(name.into());
    comparison.notes = vec![Note::Text(name.into())];
    comparison.structure = structure::changes(name);
    comparison.policy.source = PolicySource::File { path: name.into(), branch: name.into() };
    comparison
}

fn assert_inert(name: &str) {
    for (shown, harmless) in rendered(name).iter().zip(rendered("harmless")) {
        let (elements, acting) = structure_of(shown);
        assert_eq!(elements, structure_of(&harmless).0, "{name:?} changes the structure:\n{shown}");
        assert_eq!(acting, Vec::<String>::new(), "{name:?} has an effect in:\n{shown}");
        let markers = usize::from(harmless.starts_with(MARKER));
        assert_eq!(shown.matches("<!--").count(), markers, "{name:?} makes a comment:\n{shown}");
        assert_eq!(shown.starts_with(MARKER), markers == 1);
    }
    for text in plain(name) {
        assert!(text.chars().count() <= 1_500 && !text.contains(['<', '>', '`', '\n']), "{name:?}: {text}");
        assert!(!text.chars().any(char::is_control), "{name:?}: {text}");
    }
}

#[test]
fn known_attacks_are_inert() {
    for fragment in FRAGMENTS {
        assert_inert(fragment);
        assert_inert(&format!("a {fragment} b"));
        assert_inert(&format!("{fragment}{fragment}"));
    }
    assert_inert(&FRAGMENTS.concat());
    assert_inert(&FRAGMENTS.concat().repeat(40));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn mixtures_of_attacks_are_inert(
        parts in prop::collection::vec(prop_oneof![prop::sample::select(&FRAGMENTS[..]).prop_map(str::to_owned), "\\PC{0,3}", "[ a-z0-9#@:/.!\\[\\]()*_`|<>&;$~^\\\\\n-]{1,6}"], 1..8)
    ) {
        // An empty reason is not shown at all, which would change the structure.
        assert_inert(&format!("{}.", parts.concat()));
    }
}
