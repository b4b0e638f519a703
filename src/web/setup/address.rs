//! The addresses and names an operator types: brought into one form or refused. What a form says
//! becomes part of a link and of a security policy, so nothing unusual is let through.

use axum::http::HeaderMap;

/// The address the browser used, as far as a proxy tells.
pub(super) fn address_asked(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    let host = text("x-forwarded-host").or(text("host")).unwrap_or_default();
    public_address(&format!("{scheme}://{host}")).unwrap_or_default()
}

/// An organisation's login, or none.
pub(super) fn is_account(text: &str) -> bool {
    text.len() <= 39 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A public address in the form it is kept: scheme, host, perhaps port and path, no slash at
/// its end.
pub(super) fn public_address(text: &str) -> Option<String> {
    let text = text.trim();
    let uri: http::Uri = (text.len() <= 200).then(|| text.parse().ok())??;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let plain = uri.query().is_none() && !text.contains('#') && !uri.host()?.is_empty();
    plain.then(|| format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

/// Whether an address is of this machine alone.
pub(super) fn is_local(address: &str) -> bool {
    let host = address.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Scheme and authority of an address: what a Content-Security-Policy calls a source.
pub(super) fn origin_of(address: &str) -> String {
    let uri = address.parse::<http::Uri>().unwrap_or_default();
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
        _ => "'none'".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_kept_in_one_form() {
        for (text, kept) in [
            ("https://pacegate.example.com/", Some("https://pacegate.example.com")),
            (" http://10.0.0.7:8080 ", Some("http://10.0.0.7:8080")),
            ("https://example.com/pacegate/", Some("https://example.com/pacegate")),
            ("pacegate.example.com", None),
            ("ftp://example.com", None),
            ("https://me:secret@example.com", None),
            ("https://example.com/?x=1", None),
            ("https://example.com/#x", None),
            ("https://", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(public_address(text).as_deref(), kept, "{text}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_told() {
        for (address, local) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("http://0.0.0.0:8080", true),
            ("https://pacegate.example.com", false),
            ("http://10.0.0.7", false),
        ] {
            assert_eq!(is_local(address), local, "{address}");
        }
    }
}
