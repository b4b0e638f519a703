//! The `pacegate` binary: hands over to `cli` and turns its end into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pacegate::cli::main()
}
