//! Reads Rust source just well enough to see which modules of the crate it mentions: comments
//! and literals are left out, `use` groups, inline modules and chains of `super` are followed.

/// One piece of source: a word, `::`, or a single other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// Splits source, without comments, strings, characters and lifetimes.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = skip(&chars, at).unwrap_or_else(|| {
            let end = token_end(&chars, at);
            let text: String = chars[at..end].iter().collect();
            if !text.trim().is_empty() {
                found.push(Token { text, line });
            }
            end
        });
        line += chars[at..end].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    found
}

fn token_end(chars: &[char], at: usize) -> usize {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    if is_word(&chars[at]) {
        at + chars[at..].iter().take_while(|c| is_word(c)).count()
    } else if chars[at..].starts_with(&[':', ':']) {
        at + 2
    } else {
        at + 1
    }
}

/// The end of the comment or literal that starts here.
fn skip(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return Some(at + rest.iter().take_while(|&&c| c != '\n').count());
    }
    if starts("/*") {
        return Some(block_comment_end(chars, at));
    }
    if rest[0] == '"' {
        return Some(string_end(chars, at + 1));
    }
    if !after_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        return raw_string_end(chars, at);
    }
    if rest[0] == '\'' {
        // A lifetime has no closing quote after its first letter; a character has.
        let escaped = rest.get(1) == Some(&'\\');
        if escaped || rest.get(2) == Some(&'\'') {
            let body = if escaped { at + 3 } else { at + 2 };
            let close = chars[body.min(chars.len())..].iter().position(|&c| c == '\'')?;
            return Some(body + close + 1);
        }
        return Some(at + 1);
    }
    None
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `None` when it is a raw identifier (`r#type`) and no string.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes_at = at + chars[at..].iter().take_while(|c| c.is_alphabetic()).count();
    let hashes = chars[hashes_at..].iter().take_while(|&&c| c == '#').count();
    if chars.get(hashes_at + hashes) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.resize(hashes + 1, '#');
    let body = hashes_at + hashes + 1;
    let length = chars[body..].windows(close.len()).position(|w| w == close)?;
    Some(body + length + close.len())
}

/// A module of the crate that a file mentions, by its path from the crate's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

/// Every path into the crate: `crate::…`, `pacegate::…` and `super::…`. `module` is the file's
/// own path, such as `["store", "runs"]`.
pub fn mentions(tokens: &[Token], module: &[String]) -> Vec<Mention> {
    let mut found = Vec::new();
    // Inline modules around the present token, with the brace depth outside each.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                if at >= 2 && text(at - 2) == "mod" {
                    inline.push((text(at - 1).to_owned(), depth));
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, outside)| *outside == depth);
            }
            "crate" | "pacegate" if text(at + 1) == "::" => {
                found.extend(leaves(tokens, at + 2, Vec::new(), token.line));
            }
            // Only the head of a chain; `self::super` is not a thing people write.
            "super" if at == 0 || text(at - 1) != "::" => {
                let mut base = module.to_vec();
                base.extend(inline.iter().map(|(name, _)| name.clone()));
                let mut next = at;
                while text(next) == "super" && text(next + 1) == "::" {
                    base.pop();
                    next += 2;
                }
                if next > at {
                    found.extend(leaves(tokens, next, base, token.line));
                }
            }
            _ => {}
        }
    }
    found
}

/// The paths that start at `at`: one word, or each entry of a group. Two words from the root
/// are enough, so nested groups need no more than their first word.
fn leaves(tokens: &[Token], at: usize, base: Vec<String>, line: usize) -> Vec<Mention> {
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    if text(at) != "{" {
        let mut path = base;
        path.push(text(at).to_owned());
        return vec![Mention { path, line }];
    }
    let (mut found, mut depth) = (Vec::new(), 0);
    for position in at..tokens.len() {
        match text(position) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(text(position), "{" | ",") && !matches!(text(position + 1), "}" | "{") {
            let mut path = base.clone();
            path.push(text(position + 1).to_owned());
            found.push(Mention { path, line: tokens[position + 1].line });
        }
    }
    found
}
