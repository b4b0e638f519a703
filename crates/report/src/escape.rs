//! Escaping of untrusted text for Markdown, titles, terminals and SVG. Anyone who opens a pull request
//! can choose the names of spans, branches and files, and error messages. Escaped text is shown and has
//! no other effect. All such text passes this module. The order of its steps matters: decode entities,
//! remove invisible characters, escape.

/// Longest name that is shown, characters.
const NAME_CAP: usize = 120;
/// Longest sentence that is shown, characters.
const SENTENCE_CAP: usize = 300;

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// A name in Markdown: an inert code span.
///
/// Most names are put in backticks, where Markdown does not resolve entities. A name that needs an
/// entity gets a `<code>` element instead. There each character that Markdown could act on is a
/// numeric entity.
#[must_use]
pub fn code(text: &str) -> String {
    let text = broken_up(&shown(&decoded(text), NAME_CAP));
    if text.contains(['<', '>', '&', '`', '|']) {
        let escaped: String = text.chars().map(inert).collect();
        format!("<code>{escaped}</code>")
    } else {
        format!("`{text}`")
    }
}

/// A text to be copied, as a code span in Markdown: unchanged, at most 300 characters. None if any of
/// its characters would have to be changed.
#[must_use]
pub fn verbatim(text: &str) -> Option<String> {
    let is_unchanged = broken_up(&shown(&decoded(text), SENTENCE_CAP)) == text;
    (is_unchanged && !text.contains(['<', '>', '&', '`', '|'])).then(|| format!("`{text}`"))
}

/// A sentence that may quote a name, as running text in Markdown without any markup.
#[must_use]
pub fn prose(text: &str) -> String {
    let text = without_references(&broken_up(&shown(&decoded(text), SENTENCE_CAP)));
    let mut out = String::with_capacity(text.len());
    let mut at_start = true;
    for c in text.chars() {
        match c {
            // Some renderers look for the box of a task list after they resolve entities.
            '[' if at_start => out.extend(inert(c).chars().chain([ZERO_WIDTH_SPACE])),
            '<' | '>' | '&' | '|' | '$' | '[' | ']' => out.push_str(&inert(c)),
            '\\' | '`' | '*' | '_' | '~' | '!' => out.extend(['\\', c]),
            // At the beginning of a line these start a heading, a list or a rule.
            '#' | '-' | '+' | '=' | '.' | ')' if at_start => out.extend(['\\', c]),
            _ => out.push(c),
        }
        at_start = at_start && c.is_ascii_digit();
    }
    out
}

/// A name for titles and annotations, where GitHub reads no markup. Angle brackets and backticks are
/// replaced, so the name also stays inert when it is pasted elsewhere.
#[must_use]
pub fn plain(text: &str) -> String {
    plain_up_to(text, NAME_CAP)
}

/// [`plain`] with at most `cap` characters.
#[must_use]
pub fn plain_within(text: &str, cap: usize) -> String {
    plain_up_to(text, cap.min(NAME_CAP))
}

/// [`plain`] for a sentence.
#[must_use]
pub fn plain_sentence(text: &str) -> String {
    plain_up_to(text, SENTENCE_CAP)
}

fn plain_up_to(text: &str, cap: usize) -> String {
    let replaced = |c| match c {
        '<' => '\u{2039}',
        '>' => '\u{203a}',
        '`' => '\'',
        other => other,
    };
    broken_up(&shown(&decoded(text), cap)).chars().map(replaced).collect()
}

/// Text for a terminal, or for a template engine that does the escaping: one line without invisible
/// characters, at most 300 characters long.
#[must_use]
pub fn readable(text: &str) -> String {
    shown(text, SENTENCE_CAP)
}

/// [`readable`], escaped for an element or attribute in HTML or SVG.
#[must_use]
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in readable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A Markdown link. `label` and `url` are not untrusted. If the address is not plain http or https, the
/// answer is the label alone.
#[must_use]
pub fn link(label: &str, url: &str) -> String {
    let is_plain = (url.starts_with("https://") || url.starts_with("http://"))
        && url.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#@&=+%,".contains(&b));
    if is_plain { format!("[{label}]({url})") } else { label.to_owned() }
}

/// Resolves entities repeatedly, so that `&amp;lt;` becomes the character it stands for. Text beyond
/// the longest that can be shown is cut first, which bounds the work.
fn decoded(text: &str) -> String {
    let mut text: String = text.chars().take(8 * SENTENCE_CAP).collect();
    for _ in 0..3 {
        if !text.contains('&') {
            break;
        }
        text = decoded_once(&text);
    }
    text
}

fn decoded_once(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|b| b == b';');
        let (c, length) = end.and_then(|end| entity(&rest[1..end]).map(|c| (c, end + 1))).unwrap_or(('&', 1));
        out.push(c);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    Some(match name {
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "amp" | "AMP" => '&',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "nbsp" | "Tab" | "NewLine" => ' ',
        "commat" => '@',
        "num" => '#',
        "colon" => ':',
        "sol" => '/',
        "vert" | "verbar" | "VerticalLine" => '|',
        "grave" | "DiacriticalGrave" => '`',
        "lsqb" | "lbrack" => '[',
        "rsqb" | "rbrack" => ']',
        "ast" => '*',
        "lowbar" => '_',
        "excl" => '!',
        "period" => '.',
        _ => return None,
    })
}

/// One line of visible characters. At the cap it is cut and ends with `…`.
fn shown(text: &str, cap: usize) -> String {
    let visible = text.chars().filter_map(|c| match c {
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_whitespace() => Some(' '),
        c if is_invisible(c) => None,
        c => Some(c),
    });
    let mut out = String::new();
    let mut length = 0;
    for c in visible {
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if length == cap {
            out.pop();
            out.truncate(out.trim_end().len());
            out.push('…');
            return out;
        }
        out.push(c);
        length += 1;
    }
    out.truncate(out.trim_end().len());
    if out.is_empty() { "(unnamed)".to_owned() } else { out }
}

/// Control characters, direction marks, zero-width characters, fillers and tags. They can make a text
/// look like another one.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Inserts a zero-width space where GitHub would see a mention, an issue or an address.
fn broken_up(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        out.push(c);
        let after = &text[at + c.len_utf8()..];
        let ends_with = |word: &str| {
            let end = out.as_bytes();
            end.len() >= word.len() && end[end.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes())
        };
        let acts = matches!(c, '@' | '#')
            || (c == ':' && after.starts_with("//"))
            || (after.starts_with('.') && ends_with("www"))
            || (after.starts_with(|d: char| d.is_ascii_digit()) && ends_with("gh-"));
        if acts {
            out.push(ZERO_WIDTH_SPACE);
        }
    }
    out
}

/// Inserts a zero-width space into text that GitHub acts on outside code: hexadecimal words, which may
/// be a commit, and `:names:` of emoji.
fn without_references(text: &str) -> String {
    /// GitHub links abbreviations of commits that are longer than this.
    const HARMLESS: usize = 6;
    let mut out = String::with_capacity(text.len() + 8);
    let mut hexadecimal = 0;
    for (at, c) in text.char_indices() {
        hexadecimal = if c.is_ascii_hexdigit() { hexadecimal + 1 } else { 0 };
        if hexadecimal > HARMLESS {
            out.push(ZERO_WIDTH_SPACE);
            hexadecimal = 1;
        }
        out.push(c);
        if c == ':' && is_emoji_name(&text[at + 1..]) {
            out.push(ZERO_WIDTH_SPACE);
        }
    }
    out
}

/// Whether the text continues as `name:`. Digits alone are a time, not a name.
fn is_emoji_name(rest: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    rest[end..].starts_with(':') && rest[..end].contains(|c: char| !c.is_ascii_digit())
}

/// The character itself, or a numeric entity where Markdown or HTML could act on it.
fn inert(c: char) -> String {
    match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '~' | '|' | '$' | '"' | ':' | '@' | '#' => {
            format!("&#{};", u32::from(c))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_names_become_code_spans() {
        assert_eq!(code("Run cargo test --all (linux)"), "`Run cargo test --all (linux)`");
        assert_eq!(code("  \n\t "), "`(unnamed)`");
        assert_eq!(plain("Run tests"), "Run tests");
        assert_eq!(prose("Slower in 2 runs; usually 3.1 s."), "Slower in 2 runs; usually 3.1 s.");
    }

    #[test]
    fn adversarial_names_become_inert_and_legible() {
        let cases = [
            ("@octocat fixes #1", "`@\u{200b}octocat fixes #\u{200b}1`"),
            ("see https://evil.example", "`see https:\u{200b}//evil.example`"),
            ("www.evil.example", "`www\u{200b}.evil.example`"),
            ("a | b", "<code>a &#124; b</code>"),
            ("a`b", "<code>a&#96;b</code>"),
            ("<img src=x>", "<code>&lt;img src=x&gt;</code>"),
            ("&lt;b&gt;", "<code>&lt;b&gt;</code>"),
            ("&amp;amp;lt;b", "<code>&lt;b</code>"),
            ("&#64;octocat", "`@\u{200b}octocat`"),
            ("x](http://e.example)", "`x](http:\u{200b}//e.example)`"),
            ("<a>[x](y)**z**", "<code>&lt;a&gt;&#91;x&#93;(y)&#42;&#42;z&#42;&#42;</code>"),
            ("in\u{202e}txet\u{2066}\u{200b}\u{0}\u{1b}[31m", "`intxet[31m`"),
            ("&#x202e;abc", "`abc`"),
            ("two\nlines\r\n| x |", "<code>two lines &#124; x &#124;</code>"),
        ];
        for (name, inert) in cases {
            assert_eq!(code(name), inert, "{name:?}");
        }
    }

    #[test]
    fn verbatim_text_is_unchanged_or_absent() {
        let line = r#"aliases: [{from: "CI / unit", to: "CI / test"}]"#;
        assert_eq!(verbatim(line), Some(format!("`{line}`")));
        for changed in
            ["a  b", "a @b", "PR #{n}", "a`b", "<b>", "&amp;", "in\u{202e}txet", "a\nb", &"x".repeat(301)]
        {
            assert_eq!(verbatim(changed), None, "{changed:?}");
        }
    }

    #[test]
    fn prose_and_plain_have_no_markup() {
        assert_eq!(prose("# *x* [y](z) `q` _w_"), "\\#\u{200b} \\*x\\* &#91;y&#93;(z) \\`q\\` \\_w\\_");
        assert_eq!(prose("1. one"), "1\\. one");
        assert_eq!(prose("- one"), "\\- one");
        assert_eq!(prose("<!-- x --> @me"), "&lt;!-- x --&gt; @\u{200b}me".replace("!--", "\\!--"));
        assert_eq!(plain("<b>`@me`"), "\u{2039}b\u{203a}'@\u{200b}me'");
        assert_eq!(html("<a href='\"'>&"), "&lt;a href=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn prose_has_no_commit_links_or_emoji() {
        assert_eq!(prose("at deadbeef1234"), "at deadbe\u{200b}ef1234");
        assert_eq!(prose(":tada: at 12:30:45"), ":\u{200b}tada: at 12:30:45");
        assert_eq!(prose("added 1,234 spans: a:b"), "added 1,234 spans: a:b");
    }

    #[test]
    fn length_is_capped_after_decoding() {
        let long = "x".repeat(10_000);
        assert_eq!(plain(&long).chars().count(), NAME_CAP);
        assert!(plain(&long).ends_with('…'));
        assert_eq!(prose(&long).chars().count(), SENTENCE_CAP);
        assert_eq!(code(&"&lt;".repeat(10_000)).matches("&lt;").count(), NAME_CAP - 1);
        assert_eq!(plain(&"x".repeat(NAME_CAP)).chars().count(), NAME_CAP);
        assert_eq!(code(&"&".repeat(10_000)).matches("&amp;").count(), NAME_CAP - 1);
    }

    #[test]
    fn comments_and_tags_never_pass() {
        for text in
            ["<!-- pacegate:comment:v1 -->", "&lt;!-- x", "<\u{200b}!--", "&\u{200b}lt;!--", "<!\u{0}--"]
        {
            for out in [code(text), prose(text), plain(text), html(text)] {
                assert!(!out.contains("<!"), "{text:?} became {out:?}");
            }
        }
    }

    #[test]
    fn only_plain_urls_become_links() {
        assert_eq!(link("Report", "https://p.example/c/1?x=2"), "[Report](https://p.example/c/1?x=2)");
        for bad in ["javascript:alert(1)", "https://p.example/) <b>", "//p.example", "https://p.example/a b"]
        {
            assert_eq!(link("Report", bad), "Report");
        }
    }
}
