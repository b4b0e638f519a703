//! Tests of the varying parts of messages, and of how well templates separate messages of different causes.

mod drain;
mod grouping;

use proptest::prelude::*;

use super::*;

#[test]
fn messages_lose_every_number_but_quoted_names() {
    for (message, expected) in [
        ("timed out after 30s", "timed out after {n}"),
        ("took 1.5 s, 2 retries", "took {n}, {n} retrie"),
        ("expected 'node 18' but got 'node 20'", "expected 'node 18' but got 'node 20'"),
        ("no user \"3f2a91c\" in shard 4", "no user \"{hex}\" in shard {n}"),
        ("can't open 3 files, it's over", "can't open {n} file, it's over"),
        ("sha256 of e2e is wrong", "sha256 of e2e is wrong"),
        ("connect 10.1.2.3:5432: refused", "connect {ip}: refused"),
        ("exit code 137", "exit code 137"),
    ] {
        assert_eq!(template(message, Numbers::AsValues), expected);
    }
}

#[test]
fn values_are_replaced_whole_and_codes_stay() {
    for (message, expected) in [
        ("got -1, or 1,204.5, or 1.2e-3", "got {n}, or {n}, or {n}"),
        ("after 1m02s, 10m0s or 1m 12s", "after {n}, {n} or {n}"),
        ("at 2.02 MiB | 512.00 KiB/s, 79.1%", "at {n} | {n}/s, {n}%"),
        ("v2.3.1-rc.2 is not 1.4.0-SNAPSHOT", "{n} is not {n}"),
        ("1 test failed, 3 tests passed", "{n} test failed, {n} test passed"),
        ("[::1]:80 ::1:5432 :::3000 10.0.0.7:5432", "{ip} {ip} {ip} {ip}"),
        ("a::b and std::vec, std::1", "a::b and std::vec, std::{n}"),
        ("serial 04:9f:3c:11:7e, 0x0", "serial {hex}, {hex}"),
        ("pod api-66b95fbd4d-zzjlm, job-4hq2z, my-https", "pod api-{hex}-{hex}, job-{hex}, my-https"),
        ("Base64EncoderTest, eyJhbGciOiJIUzI1NiJ9", "Base64EncoderTest, {hex}"),
        ("exit status: 1, [Errno 13], (SQLSTATE 42P01)", "exit status: 1, [Errno 13], (SQLSTATE 42P01)"),
        ("code=-1073741819, error 0xC0000005, HTTP 503", "code=-1073741819, error 0xC0000005, HTTP 503"),
        ("error: 3 of 17, code 123456789012", "error: {n} of {n}, code {n}"),
        ("TS2339, E0308 and x86_64 stay", "TS2339, E0308 and x86_64 stay"),
    ] {
        assert_eq!(template(message, Numbers::AsValues), expected);
    }
}

proptest! {
    #[test]
    fn any_message_gives_bounded_template(text in "([a-z0-9A-F:.,\\[\\]+ é-]|0x|code |::|1m|ms|-rc|\\PC){0,80}") {
        let masked = template(&text, Numbers::AsValues);
        prop_assert!(masked.len() <= text.len() * 4 + 4);
    }
}
