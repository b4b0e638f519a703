//! Plain data types and their invariants: spans, runs, stages, policies and verdicts. No decisions,
//! no input or output, no clock.

pub mod bounded;
pub mod byte_size;
pub mod comparison;
pub mod decision;
pub mod dropped;
pub mod duration;
pub mod environment;
pub mod history;
pub mod ids;
pub mod linked_traces;
pub mod note;
pub mod policy;
pub mod reason;
pub mod run;
pub mod span;
pub mod split;
pub mod stage;
pub mod structure;
pub mod time;
pub mod trace;
pub mod trace_link;
pub mod workflow_run;
