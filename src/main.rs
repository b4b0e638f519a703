//! The `pacegate` binary. Everything happens in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pacegate::cli::main()
}
