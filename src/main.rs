//! The `pacegate` binary: hands over to `cli`.

fn main() {}
