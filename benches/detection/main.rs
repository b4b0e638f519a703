//! Measures recall and false alarms of the gate, of other tools' rules, and of the gate without each of
//! its parts. `cargo bench --bench detection` prints Markdown tables on simulated histories with fixed
//! seeds.
//!
//! - `-- bar incumbents sizes noise ablation blocks` selects tables.
//! - `--trials N` sets the number of pull requests for each row.
//! - `--history FILE.csv` replays a real history instead.

mod generator;
mod history;
mod incumbents;
mod ours;
mod sections;
mod table;
mod trials;

use std::path::PathBuf;

use clap::Parser;

/// Arguments after `--`.
#[derive(Parser)]
struct Arguments {
    /// Tables to print [default: all]: bar, incumbents, sizes, noise, ablation, blocks
    sections: Vec<String>,
    /// Pull requests for each row
    #[arg(long)]
    trials: Option<usize>,
    /// Replays this history instead
    #[arg(long)]
    history: Option<PathBuf>,
    /// Cargo passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A table's name, the function that prints it, and its default number of pull requests.
type Section = (&'static str, fn(usize), usize);

const SECTIONS: [Section; 6] = [
    ("bar", sections::bar, 2_000),
    ("incumbents", sections::incumbents, 2_000),
    ("sizes", sections::sizes, 1_000),
    ("noise", sections::noise, 1_000),
    ("ablation", sections::ablation, 1_000),
    ("blocks", sections::blocks, 1_000),
];

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.history {
        return history::replay(file);
    }
    let unknown = |name: &&String| SECTIONS.iter().all(|(known, ..)| known != name);
    if let Some(name) = arguments.sections.iter().find(unknown) {
        return Err(format!("there is no table `{name}`"));
    }
    for (name, print, trials) in SECTIONS {
        if arguments.sections.is_empty() || arguments.sections.iter().any(|wanted| wanted == name) {
            print(arguments.trials.unwrap_or(trials));
        }
    }
    Ok(())
}
