//! Normalizes or refuses the addresses and names that an operator types. They become part of links
//! and of a security policy, so unusual forms are refused.

use axum::http::HeaderMap;

/// The address that the browser used. Behind a proxy it comes from the proxy's headers.
pub(super) fn address_of_request(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    let host = text("x-forwarded-host").or(text("host")).unwrap_or_default();
    public_address(&format!("{scheme}://{host}")).unwrap_or_default()
}

/// Whether the text is an organisation's login, or empty.
pub(super) fn is_account(text: &str) -> bool {
    text.len() <= 39 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A public address in normal form: scheme, host, optional port and path, no trailing slash.
pub(super) fn public_address(text: &str) -> Option<String> {
    let text = text.trim();
    let uri: http::Uri = (text.len() <= 200).then(|| text.parse().ok())??;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let plain = uri.query().is_none() && !text.contains('#') && !uri.host()?.is_empty();
    plain.then(|| format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

/// Whether only this machine can reach the address.
pub(super) fn is_local(address: &str) -> bool {
    let host = address.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Scheme and authority of an address, as a source for a Content-Security-Policy.
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
    fn public_address_is_normalized() {
        for (text, normal) in [
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
            assert_eq!(public_address(text).as_deref(), normal, "{text}");
        }
    }

    #[test]
    fn local_addresses_are_recognized() {
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
