//! Chooses the frame of a stack trace that identifies an error: the topmost in the repository's own code.
//! Libraries and runtimes are recognised by their place of installation. A CI service's checkout folder
//! is removed, so that the path is from the repository's root.

use super::stack_trace::{RawFrame, frames};
use super::template::{Numbers, template};
use crate::model::stage::Frame;

const MAX_PATH_CHARS: usize = 300;
const MAX_FUNCTION_CHARS: usize = 200;

/// A path that contains one of these is foreign code. Each begins and ends at a folder.
const FOREIGN_FOLDERS: [&str; 27] = [
    "site-packages/",
    "dist-packages/",
    "node_modules/",
    "bower_components/",
    ".yarn/",
    ".pnpm/",
    ".cargo/",
    "cargo/registry/",
    ".rustup/",
    "rustlib/",
    "gems/",
    "rubygems/",
    "lib/ruby/",
    ".rbenv/",
    ".rvm/",
    ".m2/",
    ".gradle/",
    ".nuget/",
    ".venv/",
    "venv/",
    ".tox/",
    ".nox/",
    "vendor/",
    "pkg/mod/",
    "hostedtoolcache/",
    "goroot/",
    "usr/local/go/",
];
/// A path with one of these prefixes belongs to a system or a runtime.
const FOREIGN_ROOTS: [&str; 13] = [
    "/rustc/",
    "/usr/lib/",
    "/usr/lib64/",
    "/usr/share/",
    "/usr/local/lib/",
    "/usr/include/",
    "/opt/conda/",
    "/nix/store/",
    "/Library/",
    "/System/",
    "C:/Program Files",
    "internal/",
    "webpack/",
];
/// Packages and namespaces of runtimes, test frameworks and the most common libraries. Frames of Java,
/// Kotlin and .NET don't show where their code was installed.
const FOREIGN_PACKAGES: [&str; 58] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "org.codehaus.",
    "org.gradle.",
    "worker.org.gradle.",
    "org.junit.",
    "junit.",
    "org.testng.",
    "org.mockito.",
    "org.assertj.",
    "org.hamcrest.",
    "org.opentest4j.",
    "io.kotest.",
    "io.mockk.",
    "org.testcontainers.",
    "com.github.dockerjava.",
    "org.springframework.",
    "org.hibernate.",
    "org.apache.maven.",
    "org.apache.commons.",
    "org.apache.http.",
    "org.apache.hc.",
    "org.apache.tomcat.",
    "org.apache.catalina.",
    "org.apache.coyote.",
    "org.apache.logging.",
    "org.eclipse.jetty.",
    "org.jetbrains.",
    "org.postgresql.",
    "com.mysql.",
    "com.zaxxer.",
    "com.fasterxml.",
    "com.google.common.",
    "com.google.inject.",
    "com.google.protobuf.",
    "io.grpc.",
    "io.netty.",
    "reactor.",
    "okhttp3.",
    "retrofit2.",
    "net.bytebuddy.",
    "ch.qos.",
    "software.amazon.",
    "com.amazonaws.",
    "android.",
    "androidx.",
    "System.",
    "Microsoft.",
    "Xunit.",
    "NUnit.",
];
/// Go's standard packages. Their paths are short when a build trims them.
const GO_STANDARD: [&str; 24] = [
    "runtime", "testing", "reflect", "net", "os", "io", "sync", "context", "encoding", "database", "fmt",
    "internal", "syscall", "time", "errors", "bufio", "bytes", "strings", "sort", "log", "html", "text",
    "regexp", "crypto",
];

/// Checkout folders of CI services, and the number of further folders that are names for the
/// repository. Without the leading slash. The longest prefix that fits is used.
const CHECKOUTS: [(&str, usize); 27] = [
    ("home/runner/work/", 2),
    ("Users/runner/work/", 2),
    ("__w/", 2),
    ("github/workspace/", 0),
    ("a/", 2),
    ("a/1/s/", 0),
    ("home/vsts/work/1/s/", 0),
    ("builds/", 2),
    ("home/circleci/", 1),
    ("root/project/", 0),
    ("root/repo/", 0),
    ("home/travis/build/", 2),
    ("home/semaphore/", 1),
    ("drone/src/", 0),
    ("woodpecker/src/", 3),
    ("var/lib/jenkins/workspace/", 1),
    ("home/jenkins/agent/workspace/", 1),
    ("var/lib/buildkite-agent/builds/", 3),
    ("opt/atlassian/pipelines/agent/build/", 0),
    ("projects/", 1),
    ("workspace/", 0),
    ("workspaces/", 1),
    ("app/", 0),
    ("usr/src/app/", 0),
    ("go/src/github.com/", 2),
    ("code/", 0),
    ("_/", 0),
];

/// The topmost frame of the repository's own code, if the trace has one.
#[must_use]
pub(crate) fn own_frame(stack_trace: &str) -> Option<Frame> {
    frames(stack_trace).iter().find_map(own)
}

fn own(raw: &RawFrame) -> Option<Frame> {
    let file = without_scheme(&raw.file);
    let is_nowhere = file.is_empty() || file.contains(['<', '>', '"', '(']) || file.contains("://");
    let names_package = raw.by_package || has_extension(file, &["cs", "fs", "vb"]);
    let of_foreign_package =
        names_package && FOREIGN_PACKAGES.iter().any(|package| raw.function.starts_with(package));
    if is_nowhere || of_foreign_package || is_foreign(file, &raw.function) {
        return None;
    }
    let function = stable_function(&raw.function).chars().take(MAX_FUNCTION_CHARS).collect();
    let in_repository = if raw.by_package { None } else { relative(file) };
    if let Some(path) = in_repository.filter(|path| path.chars().count() <= MAX_PATH_CHARS) {
        return Some(Frame { path, function, line: (raw.line > 0).then_some(raw.line) });
    }
    let path = if raw.by_package { file.to_owned() } else { template(file, Numbers::AsNames) };
    Some(Frame { path: path.chars().take(MAX_PATH_CHARS).collect(), function, line: None })
}

/// `file:///srv/x.js`, `webpack:///./src/x.ts`, `webpack-internal:///./src/x.ts`.
fn without_scheme(file: &str) -> &str {
    for scheme in ["file://", "webpack-internal:///", "webpack:///"] {
        if let Some(rest) = file.strip_prefix(scheme) {
            // A drive comes after one more slash.
            return rest.strip_prefix('/').filter(|r| r.as_bytes().get(1) == Some(&b':')).unwrap_or(rest);
        }
    }
    file
}

fn is_foreign(file: &str, function: &str) -> bool {
    let holds =
        |folder: &&str| file.match_indices(*folder).any(|(at, _)| at == 0 || file.as_bytes()[at - 1] == b'/');
    file.starts_with("node:")
        || FOREIGN_ROOTS.iter().any(|root| file.starts_with(root))
        || FOREIGN_FOLDERS.iter().any(holds)
        || is_of_python(file)
        || (has_extension(file, &["go"]) && is_of_go(file, function))
}

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    file.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

/// `.../lib/python3.12/...`.
fn is_of_python(file: &str) -> bool {
    file.split_once("/lib/python").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// With trimmed paths, a version in the path marks a foreign module. A standard package's file is in a
/// folder with the package's name.
fn is_of_go(file: &str, function: &str) -> bool {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let first = folder.split('/').next().unwrap_or("");
    let is_standard = GO_STANDARD.contains(&first)
        && function.strip_prefix(folder).is_some_and(|rest| rest.starts_with('.'));
    file.contains("@v") || is_standard
}

/// The path from the repository's root. None where it is not known.
fn relative(file: &str) -> Option<String> {
    let drive = file.as_bytes().get(1) == Some(&b':');
    let inside = if drive { file.get(3..)? } else { file.strip_prefix('/').unwrap_or(file) };
    let is_absolute = drive || file.starts_with('/');
    resolved(if is_absolute {
        below_checkout(inside)?
    } else if has_extension(file, &["go"]) && file.starts_with("github.com/") {
        // A trimmed path begins with the module's.
        below(file, 3)?
    } else {
        file
    })
}

fn below_checkout(inside: &str) -> Option<&str> {
    // A self-hosted runner may be installed anywhere.
    if let Some((_, rest)) = inside.split_once("/_work/") {
        return below(rest, 2);
    }
    let fitting = CHECKOUTS.iter().filter(|(prefix, _)| inside.starts_with(prefix));
    let (prefix, folders) = fitting.max_by_key(|(prefix, _)| prefix.len())?;
    below(&inside[prefix.len()..], *folders)
}

/// The path without its first folders.
fn below(path: &str, folders: usize) -> Option<&str> {
    (0..folders).try_fold(path, |rest, _| rest.split_once('/').map(|(_, rest)| rest))
}

/// The path without `.` and `..`. None if it leaves the repository.
fn resolved(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    let usable = !parts.is_empty() && !path.chars().any(|c| c.is_control() || c == '\\');
    usable.then(|| parts.join("/"))
}

/// The function without the numbers that a compiler gives to closures, lambdas and state machines: they
/// change with every edit. `Run$lambda$3` and Go's `Test.func2.1`, `.NET`'s `<Run>d__12.MoveNext`.
fn stable_function(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    while let Some(c) = characters.next() {
        if c.is_control() {
            continue;
        }
        let numbered = c.is_ascii_digit()
            && (out.ends_with(['$', '#', '-']) || out.ends_with("__") || ends_as_closure(&out));
        if numbered {
            while characters.next_if(char::is_ascii_digit).is_some() {}
        } else {
            out.push(c);
        }
    }
    out
}

/// Go writes `pkg.Test.func2` and, for a closure in it, `pkg.Test.func2.1`.
fn ends_as_closure(written: &str) -> bool {
    written.trim_end_matches('.').strip_suffix("func").is_some_and(|before| before.ends_with('.'))
}

#[cfg(test)]
mod tests;
