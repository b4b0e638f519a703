//! Builds this crate again when a migration is added: the macro that embeds the migrations tracks
//! only the files that it found.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
