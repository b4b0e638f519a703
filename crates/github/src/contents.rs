//! Files of a repository at a branch or commit, from GitHub's contents API. A folder, a symbolic link
//! out of the repository and a submodule count as missing. Parses no file format.

use base64::Engine as _;
use serde::Deserialize;

use super::{GitHubError, RepoClient};

/// Largest file that is read, bytes.
const MAX_BYTES: u64 = 512 << 10;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileText {
    Text(String),
    /// The file is larger than 512 KiB or not UTF-8.
    Unreadable,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Contents {
    File(FileAnswer),
    /// A folder is a list; a submodule has no content.
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct FileAnswer {
    #[serde(rename = "type")]
    kind: String,
    encoding: String,
    size: u64,
    content: String,
}

impl RepoClient {
    /// A file at a branch, tag or commit. `None`: there is no such file.
    pub async fn file(&self, path: &str, git_ref: &str) -> Result<Option<FileText>, GitHubError> {
        let path: Vec<String> = path.split('/').map(percent_encoded).collect();
        let route =
            format!("/repos/{}/contents/{}?ref={}", self.repo, path.join("/"), percent_encoded(git_ref));
        match self.transport.get(&route).await {
            Ok(Contents::File(file)) if file.kind == "file" => Ok(Some(text_of(&file))),
            Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn text_of(file: &FileAnswer) -> FileText {
    // For a file of more than 1 MB, GitHub sends no content and the encoding `none`.
    if file.size > MAX_BYTES || file.encoding != "base64" {
        return FileText::Unreadable;
    }
    let packed: String = file.content.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map_or(FileText::Unreadable, FileText::Text)
}

/// Encodes a path segment or query value: all bytes but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Option<FileText> {
        match serde_json::from_str(answer).expect("any answer is read") {
            Contents::File(file) if file.kind == "file" => Some(text_of(&file)),
            _ => None,
        }
    }

    #[test]
    fn only_small_utf8_files_are_text() {
        let file = |size: u64, encoding: &str, content: &str| {
            read(&format!(
                r#"{{"type":"file","encoding":"{encoding}","size":{size},"content":"{content}","name":"x"}}"#
            ))
        };
        assert_eq!(file(7, "base64", "YTogYgpj\\nOiBk\\n"), Some(FileText::Text("a: b\nc: d".into())));
        assert_eq!(file(0, "base64", ""), Some(FileText::Text(String::new())));
        for (size, encoding, content) in [
            (2 << 20, "none", ""),
            ((512 << 10) + 1, "base64", "YQ=="),
            (1, "base64", "/w=="),
            (1, "base64", "*"),
        ] {
            assert_eq!(
                file(size, encoding, content),
                Some(FileText::Unreadable),
                "{size} {encoding} {content}"
            );
        }
        assert_eq!(read(r#"[{"type":"file","name":"a"}]"#), None, "a folder");
        assert_eq!(read(r#"{"type":"submodule","size":0,"submodule_git_url":"x"}"#), None);
        assert_eq!(read(r#"{"type":"symlink","size":3,"target":"../x"}"#), None);
    }

    #[test]
    fn names_are_percent_encoded_in_routes() {
        assert_eq!(
            percent_encoded("release/1.0?x=1&ref=y#z ü"),
            "release%2F1.0%3Fx%3D1%26ref%3Dy%23z%20%C3%BC"
        );
    }
}
