//! Pacegate: a trace-based performance regression gate for CI pipelines.
//!
//! The modules stand on floors; a file imports only from floors below its own
//! (`tests/it/floors` holds this).
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 | [`stats`] | numerics: knows `f64`, not stages |
//! | 1 | [`model`], [`gate`] | plain data; pure decisions |
//! | 2 | [`store`], [`ingest`], [`github`], and [`clock`], [`metrics`], [`config`] | the world, three siblings; time, counters, settings |
//! | 3 | [`report`] | a comparison as Markdown, page, text and JSON |
//! | 4 | [`web`], [`jobs`] | the door; what a worker runs |
//! | 5 | [`cli`] | commands: the only place that wires things together |

pub mod cli;
pub mod clock;
pub mod config;
pub mod gate;
pub mod github;
pub mod ingest;
pub mod jobs;
pub mod metrics;
pub mod model;
pub mod report;
pub mod stats;
pub mod store;
pub mod web;
