//! RSA key pairs, made by `openssl` while the tests run: no key is in the repository.
//! One pair is the App's; the other is a stranger's, for what must be refused.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A private key in the form GitHub hands out (PKCS#1), and its public half.
pub(crate) struct KeyPair {
    pub private_pem: String,
    pub public_pem: String,
}

/// The App's key pair, the same for the whole test process.
pub(crate) fn app() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(generate)
}

/// A key pair that the App does not have.
pub(crate) fn stranger() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(generate)
}

/// A key pair of nobody yet.
pub(crate) fn generate() -> KeyPair {
    let private_pem = openssl(&["genrsa", "-traditional", "2048"], "");
    let public_pem = openssl(&["rsa", "-pubout"], &private_pem);
    KeyPair { private_pem, public_pem }
}

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the openssl command is installed");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("openssl reads its input");
    let output = child.wait_with_output().expect("openssl ends");
    assert!(output.status.success(), "openssl {arguments:?} failed");
    String::from_utf8(output.stdout).expect("PEM is text")
}
