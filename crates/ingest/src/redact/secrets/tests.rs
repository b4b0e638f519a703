//! Tests of the known shapes of secrets, of texts that resemble one, and of the time that a search takes.

use super::*;

fn shown(text: &str) -> String {
    let mut text = text.to_owned();
    mask(&mut text);
    text
}

/// Builds a token, so that secret scanners find none in this file.
fn of(prefix: &str, length: usize) -> String {
    format!("{prefix}{}", "Ab3dEf7hIj".repeat(60).chars().take(length).collect::<String>())
}

#[test]
fn known_shapes_are_masked_anywhere() {
    let tokens = [
        of("ghp_", 36),
        of("gho_", 36),
        of("ghu_", 36),
        of("ghs_", 36),
        of("ghs_12345_eyJ", 36) + "." + &of("eyJ", 40) + "." + &of("", 40),
        of("ghr_", 76),
        of("github_pat_", 82),
        of("npm_", 36),
        of("glpat-", 20),
        of("glrt-", 20),
        of("xoxc-", 20),
        of("sk-proj-", 40),
        of("sk_test_", 24),
        of("hf_", 34),
        of("xoxb-", 40),
        of("AIza", 35),
        format!("AKIA{}", "ABCD2345".repeat(2)),
        format!("ASIA{}", "ABCD2345".repeat(2)),
        of("eyJ", 30) + "." + &of("eyJ", 50) + "." + &of("", 43),
        of("eyJ", 30) + "." + &of("eyJ", 50),
        format!("pgt_{}", "0123456789abcdef".repeat(3)),
        format!("pgg_{}", "0123456789abcdef".repeat(3)),
    ];
    for token in tokens {
        for (before, after) in [
            ("", ""),
            ("fatal: \"", "\" was refused"),
            ("é ", " é"),
            ("https://", "@github.com/a/b"),
            ("a=", "&b"),
        ] {
            let text = format!("{before}{token}{after}");
            assert_eq!(shown(&text), format!("{before}{MASK}{after}"), "{text}");
        }
    }
}

#[test]
fn labelled_secrets_are_masked() {
    let (bearer, basic) = (of("", 20), "dXNlcjpwYXNzd29yZA==");
    for (text, masked) in [
        (format!("Authorization: Bearer {bearer}"), "Authorization: [redacted]".to_owned()),
        (format!("sent bearer {bearer}, got 401"), "sent bearer [redacted], got 401".to_owned()),
        (format!("-H 'Basic {basic}'"), "-H 'Basic [redacted]'".to_owned()),
        ("postgres://u:p@ss:w0rd@db:5432/x?a=1".to_owned(), "postgres://[redacted]@db:5432/x?a=1".to_owned()),
        ("host=db password=hunter2 user=u".to_owned(), "host=db password=[redacted] user=u".to_owned()),
        ("GET /x?access_token=abc&page=2".to_owned(), "GET /x?access_token=[redacted]&page=2".to_owned()),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG".to_owned(),
            "aws_secret_access_key = [redacted]".to_owned(),
        ),
        (
            r#"{"user":"u","password": "a \"b","x":1}"#.to_owned(),
            r#"{"user":"u","password": "[redacted]","x":1}"#.to_owned(),
        ),
        (r#"{\"api_key\":\"s3cr3t\"}"#.to_owned(), r#"{\"api_key\":\"[redacted]\"}"#.to_owned()),
        (format!("token=Bearer {bearer} x"), "token=Bearer [redacted] x".to_owned()),
        ("password=".to_owned(), "password=".to_owned()),
    ] {
        assert_eq!(shown(&text), masked, "{text}");
    }
}

#[test]
fn labelled_value_ends_at_its_quote() {
    for (text, masked) in [
        (r#"psql "password="it's0Q" x"#, r#"psql "password="[redacted]" x"#),
        (r#"{"password":"pa'0Q","x":1}"#, r#"{"password":"[redacted]","x":1}"#),
        (r#"'{"password":"a"}' "b""#, r#"'{"password":"[redacted]"}' "b""#),
        (r#"{\"password\":\"it's \\\"0Q\\\"\",\"x\":1}"#, r#"{\"password\":\"[redacted]\",\"x\":1}"#),
        (r#"{\\\"password\\\":\\\"0Q\\\"}"#, r#"{\\\"password\\\":\\\"[redacted]\\\"}"#),
        (r#"password="a\\" x"#, r#"password="[redacted]" x"#),
        (r#"password = "a b" x"#, r#"password = "[redacted]" x"#),
        ("apiKey\t= 'a b' x", "apiKey\t= '[redacted]' x"),
        (r#""password" => "a b", x"#, r#""password" => "[redacted]", x"#),
        (r#"token := "a b" + x"#, r#"token := "[redacted]" + x"#),
        (r#"{"privateKey":"0Q"}"#, r#"{"privateKey":"[redacted]"}"#),
        ("aws_session_token: 0Q/+ x", "aws_session_token: [redacted] x"),
    ] {
        assert_eq!(shown(text), masked, "{text}");
        assert_eq!(shown(masked), masked);
    }
}

#[test]
fn header_is_masked_to_line_end() {
    for (text, masked) in [
        ("Authorization: ApiKey 0Q, 1Q\nHost: x", "Authorization: [redacted]\nHost: x"),
        ("authorization=Token 0Q", "authorization=[redacted]"),
        ("curl -H 'Authorization: it\"s 0Q' x", "curl -H 'Authorization: [redacted]' x"),
        ("Authorization: Digest a=\"b\", c=\"0Q\"\r\n", "Authorization: [redacted]\r\n"),
        (r#"{"Authorization":"ApiKey 0Q"}"#, r#"{"Authorization":"[redacted]"}"#),
        ("Cookie: a=b; c=0Q", "Cookie: [redacted]"),
        ("set-cookie: sid=0Q; Secure", "set-cookie: [redacted]"),
        (r#"-H "X-Api-Key: 0Q" x"#, r#"-H "X-Api-Key: [redacted]" x"#),
        // A sentence that looks like a header is masked too.
        ("cookie: none", "cookie: [redacted]"),
    ] {
        assert_eq!(shown(text), masked, "{text}");
        assert_eq!(shown(masked), masked);
    }
}

#[test]
fn arguments_and_addresses_are_masked() {
    for (text, masked) in [
        ("mysql --password 0Q -u x", "mysql --password [redacted] -u x"),
        ("x --api-token  'a b' y", "x --api-token  '[redacted]' y"),
        ("x --password=0Q y", "x --password=[redacted] y"),
        ("postgres://u:p/0Q@db/x", "postgres://[redacted]@db/x"),
        ("postgres://u:p?0Q#1@db:5/x y@z", "postgres://[redacted]@db:5/x y@z"),
        ("http://h:8080/x,http://u:p#0Q@db", "http://h:8080/x,http://[redacted]@db"),
    ] {
        assert_eq!(shown(text), masked, "{text}");
        assert_eq!(shown(masked), masked);
    }
}

#[test]
fn whole_and_cut_private_keys_are_masked() {
    let body = format!("{}\n{}=\n", "MIIEowIB".repeat(8), "AbCd0123".repeat(4));
    let (begin, end) = ("-----BEGIN RSA PRIVATE KEY-----\n", "-----END RSA PRIVATE KEY-----");
    for (text, masked) in [
        (format!("key: {begin}{body}{end}\nnext"), "key: [redacted]\nnext"),
        (format!("key: {begin}{body}"), "key: [redacted]"),
        (format!("the key\n{body}{end} next"), "the [redacted] next"),
        (format!("password={begin}{body}{end}."), "password=[redacted]."),
        (format!("{}{body}{}", begin.replace('\n', "\\n"), end), "[redacted]"),
    ] {
        assert_eq!(shown(&text), masked, "{text}");
    }
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----";
    assert_eq!(shown(public), public);
}

#[test]
fn ordinary_text_stays() {
    for text in [
        "",
        "unexpected token: `}` in line 7",
        "Basic authentication failed",
        "bearer authentication is required",
        "https://github.com/acme/app/actions/runs/7?check_suite_focus=true",
        "https://user@example.com/x",
        "00f067aa-0ba9-02b7-0000-000000000000",
        "src/ghp_client.rs: npm_config_cache=/opt/npm AKIAB eyJ.a.b",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "12:05:07.123 http://[::1]:8080/ ok: a:b",
        "ünïcödé 🐢 a_b-c d=e",
        "token bucket algorithm",
        "the password is wrong",
        "--token is required, --password or --token-file too",
        "-- password x --token --verbose --password-stdin y",
        "expected token = x, token == \"y\"",
        "http://localhost:4873/@scope/pkg http://[::1]:80/a@b ssh://git@host:22/a@b",
        "mailto://a@b ssh://git@github.com:acme/app.git",
        "task_test_initializationOfEverything",
        "desk-proj-some-long-name-of-a-project",
    ] {
        assert_eq!(shown(text), text);
    }
}

#[test]
fn second_pass_changes_nothing() {
    for text in [
        format!("Authorization: Bearer {}", of("", 40)),
        format!("token={}x https://a:b@c password=\"{}", of("ghp_", 40), of("", 9)),
        format!("Basic {} -----BEGIN PRIVATE KEY-----", "QWxhZGRpbjpvcGVu"),
        format!("password={MASK}abc token={MASK}"),
        format!("https://{MASK}:x@host"),
    ] {
        let once = shown(&text);
        assert!(once.contains(MASK));
        assert_eq!(shown(&once), once, "{text}");
    }
}

#[test]
fn repeated_prefixes_take_linear_time() {
    // In quadratic time, each of these would take minutes.
    for part in [
        "eyJ",
        "ghp_",
        "github_pat_",
        "xoxb-",
        "-----BEGIN ",
        "-----END PRIVATE KEY",
        "://",
        "://a:@",
        "=",
        ":",
        "token=",
        "Bearer ",
        "basic ",
        "eyJaaaaaaaaaa.",
        "AKIA",
        "password=\"",
        "password='\"",
        "password = \\",
        "--token ",
        "--",
        "cookie:\n",
        "cookie: =\"",
        "://a:b",
        "://a:b/",
        "\"password\":\\",
        "-",
        "_",
        " ",
    ] {
        let text = part.repeat(300_000 / part.len());
        assert!(shown(&text).len() <= text.len() * 4, "{part}");
    }
}
