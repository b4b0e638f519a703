//! Parses amounts of memory of flags: `512MiB`, `2GiB`, or bytes.

/// Reads `64KiB`, `512MiB`, `2GiB`, or a bare number of bytes.
///
/// # Errors
/// An error text with the expected notation.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an amount of memory: write 64KiB, 512MiB, 2GiB or bytes");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_or_explain_the_notation() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64KiB", 65_536), ("3 MiB", 3 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MiB", "1.5GiB", "-1", "2GB", "99999999999GiB"] {
            assert!(parse(wrong).is_err_and(|e| e.contains("not an amount")), "{wrong}");
        }
    }
}
