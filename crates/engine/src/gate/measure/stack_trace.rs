//! Reads stack traces of Python, Java and Kotlin, Node, Go, Rust, Ruby and .NET in one pass over bounded
//! text. Each kind of line has its own pattern, and the language need not be known. Whether a frame is
//! the repository's own code is not decided here.

/// Most of a trace that is read.
const MAX_BYTES: usize = 64 << 10;
const MAX_LINES: usize = 1_000;
/// A longer line is not a frame.
const MAX_LINE_BYTES: usize = 1_000;
/// Most frames that are kept.
const MAX_FRAMES: usize = 300;

/// One frame as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawFrame {
    /// As written, with backslashes replaced by slashes.
    pub file: String,
    /// As written, without arguments. It may be empty.
    pub function: String,
    /// From 1. 0 when there is none.
    pub line: u32,
    /// The folder of `file` is the function's package (Java, Kotlin). The folder in the repository is
    /// not known.
    pub by_package: bool,
}

/// The frames of a trace, the innermost call first.
#[must_use]
pub(crate) fn frames(text: &str) -> Vec<RawFrame> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut found = Vec::new();
    // Python prints the innermost call last, and the final exception after its causes.
    let mut found_last_first = Vec::new();
    let mut function_above = String::new();
    for line in text.lines().take(MAX_LINES).filter(|line| line.len() <= MAX_LINE_BYTES) {
        // Exception groups are drawn as a tree.
        let line = line.trim_start_matches(['|', '+', ' ', '\t']).trim_end();
        if found.len() + found_last_first.len() >= MAX_FRAMES {
            break;
        }
        if let Some((frame, innermost_first)) = python(line) {
            if innermost_first { found.push(frame) } else { found_last_first.push(frame) }
        } else if let Some(frame) = at_line(line, &function_above) {
            found.push(frame);
        } else if let Some(frame) = go(line, &function_above).or_else(|| ruby(line)) {
            found.push(frame);
        } else {
            function_above = bare_function(line);
            continue;
        }
        function_above.clear();
    }
    if let (true, Some(frame)) = (found.is_empty() && found_last_first.is_empty(), rust_panic(text)) {
        return vec![frame];
    }
    found.extend(found_last_first.into_iter().rev());
    found
}

fn frame(file: &str, function: &str, line: u32) -> RawFrame {
    RawFrame {
        file: file.trim().replace('\\', "/"),
        function: function.trim().to_owned(),
        line,
        by_package: false,
    }
}

/// `File "PATH", line N, in FUNCTION`. Without the comma it is the dump of a fatal signal, in which the
/// innermost frame comes first. Also pytest's `PATH.py:N: in FUNCTION` and `PATH.py:N: Error`.
fn python(line: &str) -> Option<(RawFrame, bool)> {
    if let Some(rest) = line.strip_prefix("File \"") {
        let (file, rest) = rest.split_once('"')?;
        let innermost_first = !rest.starts_with(',');
        let rest = rest.trim_start_matches(',').trim_start().strip_prefix("line ")?;
        let (number, rest) = leading_number(rest)?;
        let function = rest.trim_start_matches(',').trim_start().strip_prefix("in ").unwrap_or("");
        return Some((frame(file, function, number), innermost_first));
    }
    let (file, rest) = line.split_once(".py:")?;
    let (number, rest) = leading_number(rest)?;
    let rest = rest.strip_prefix(": ")?;
    let function = rest.strip_prefix("in ").unwrap_or("");
    (!file.contains([' ', '"'])).then(|| (frame(&format!("{file}.py"), function, number), false))
}

/// Lines that begin with `at`: Node, Java, Kotlin, .NET, and Rust, whose function is one line above.
fn at_line(line: &str, function_above: &str) -> Option<RawFrame> {
    let rest = line.strip_prefix("at ")?;
    if let Some((call, place)) = rest.rsplit_once(" in ")
        && let Some((file, number)) = place.rsplit_once(":line ")
    {
        let function = call.split('(').next().unwrap_or(call);
        return Some(frame(file, function, leading_number(number)?.0));
    }
    if let Some(inside) = rest.strip_suffix(')')
        && let Some((call, place)) = inside.rsplit_once('(')
    {
        if call.ends_with(' ') {
            let (file, number) = place_of(place)?;
            return Some(frame(file, node_function(call), number));
        }
        return java(call, place);
    }
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let (file, number) = place_of(rest)?;
    Some(frame(file, function_above, number))
}

/// The function's own name in `async Promise.all`, `new Pool` or `Pool.open [as connect]`.
fn node_function(call: &str) -> &str {
    let call = call.trim();
    let call = call.strip_prefix("async ").unwrap_or(call);
    let call = call.strip_prefix("new ").unwrap_or(call);
    call.split(" [as ").next().unwrap_or(call)
}

/// `app//com.acme.Cart.add(Cart.java:12)`: the file has no folder, so the package supplies it.
fn java(call: &str, place: &str) -> Option<RawFrame> {
    let call = call.rsplit('/').next().unwrap_or(call);
    let mut parts = call.rsplitn(3, '.');
    let (_method, _class, package) = (parts.next()?, parts.next()?, parts.next().unwrap_or(""));
    let (name, number) =
        place.rsplit_once(':').map_or((place, 0), |(name, number)| (name, number.parse().unwrap_or(0)));
    let is_file = name.contains('.') && !name.contains([' ', '/']);
    if !is_file && name != "Native Method" && name != "Unknown Source" {
        return None;
    }
    let folder = if package.is_empty() { String::new() } else { package.replace('.', "/") + "/" };
    let file = if is_file { format!("{folder}{name}") } else { String::new() };
    Some(RawFrame { by_package: true, ..frame(&file, call, number) })
}

/// `PATH.go:N +0x1d`, below `package.Function(arguments)`.
fn go(line: &str, function_above: &str) -> Option<RawFrame> {
    let (file, rest) = line.split_once(".go:")?;
    let (number, rest) = leading_number(rest)?;
    let is_place = rest.is_empty() || rest.starts_with(" +0x") || rest.starts_with(" fp=0x");
    (is_place && !function_above.is_empty() && !function_above.starts_with("created by "))
        .then(|| frame(&format!("{file}.go"), function_above, number))
}

/// ``PATH:N:in `method'`` with either quotation mark, also after `from` or a frame number.
fn ruby(line: &str) -> Option<RawFrame> {
    let (place, rest) = line.split_once(":in ")?;
    let rest = rest.strip_prefix(['`', '\''])?;
    let function = &rest[..rest.find('\'')?];
    let place = place.trim_start_matches(|c: char| c.is_ascii_digit());
    let place = place.strip_prefix(": ").unwrap_or(place);
    let place = place.strip_prefix("from ").unwrap_or(place);
    let (file, number) = place.rsplit_once(':')?;
    Some(frame(file, function, number.parse().ok()?))
}

/// `thread 'main' panicked at src/main.rs:4:5:` without a backtrace.
fn rust_panic(text: &str) -> Option<RawFrame> {
    let rest = text.lines().take(MAX_LINES).find_map(|line| line.split_once("panicked at "))?.1;
    let (file, number) = place_of(rest.trim_end().trim_end_matches(':'))?;
    (file.rsplit_once('.')?.1 == "rs").then(|| frame(file, "", number))
}

/// The function of a line whose place is on the next line: Rust's `4: app::run`, Go's
/// `main.run(0xc000, {...})`. Empty for other lines.
fn bare_function(line: &str) -> String {
    if let Some((_, name)) = line.split_once(": ").filter(|(n, _)| n.parse::<u32>().is_ok()) {
        // A symbol may have a hash and an address.
        let name = name.rsplit_once(" - ").map_or(name, |(_, name)| name).trim();
        let hash = name.rfind("::h").filter(|at| name.len() - at == 19);
        return name[..hash.unwrap_or(name.len())].to_owned();
    }
    if line.starts_with("created by ") {
        return line.to_owned();
    }
    let Some(end) = line.ends_with(')').then(|| matching_parenthesis(line)).flatten() else {
        return String::new();
    };
    let name = &line[..end];
    if name.contains('.') && !name.contains([' ', '"']) { name.to_owned() } else { String::new() }
}

/// Position of the parenthesis that the last one closes.
fn matching_parenthesis(line: &str) -> Option<usize> {
    let mut depth = 0_usize;
    line.bytes().enumerate().rev().find_map(|(at, byte)| {
        match byte {
            b')' => depth += 1,
            b'(' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (byte == b'(' && depth == 0).then_some(at)
    })
}

/// `PATH:LINE:COLUMN` or `PATH:LINE`.
fn place_of(text: &str) -> Option<(&str, u32)> {
    let (before, last) = text.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    match before.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => Some((file, line)),
        None => Some((before, last)),
    }
    .filter(|(file, _)| !file.is_empty())
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}
