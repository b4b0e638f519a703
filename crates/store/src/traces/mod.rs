//! Traces: the spans of open traces, the traces of one pipeline run, and raw traces in the object
//! store with the records of those that are kept.

mod api;
mod kept;
mod linked;
mod open;
mod raw;

pub use api::CollectedTrace;
pub use kept::{KeptTrace, TraceToDrop};
pub use linked::PipelineTrace;
pub use open::{OpenTrace, SpanBatch, StoredBatch, TraceBounds};
pub use raw::TraceStore;
