//! Pacegate: a trace-based performance regression gate for CI pipelines.
//!
//! This crate is the application. Crate borders enforce the layers: a crate can only use what its
//! `Cargo.toml` lists.
//!
//! | layer | where | contents |
//! |---|---|---|
//! | 0 | [`pacegate_engine`] | numerics, plain data and pure decisions |
//! | 1 | [`pacegate_clock`] | time and randomness as parameters |
//! | 2 | [`pacegate_store`], [`pacegate_ingest`], [`pacegate_github`] | databases, wire formats, GitHub's API |
//! | 2 | [`pacegate_report`] | a comparison as Markdown, page, text and JSON |
//! | 3 | `config`, `protocols`, [`metrics`] | settings, the table of protocols, counters |
//! | 3 | [`tasks`] | background work |
//! | 4 | `web` | HTTP, gRPC and UDP listeners; may push and run tasks |
//! | 5 | [`cli`] | commands: the only place that wires everything together |

pub mod cli;
mod config;
pub mod metrics;
mod protocols;
pub mod tasks;
mod web;
