//! Which parts of a message vary, and how well messages of one cause are told from others.

mod drain;
mod grouping;

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
