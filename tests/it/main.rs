//! The one test binary: everything that needs more than a function call.

#[allow(dead_code, reason = "how tests run a job: wider than the tests of one day")]
mod action;
mod clients;
mod decoder_memory;
mod end_to_end;
mod endpoint;
mod fake_github;
mod layers;
mod licences;
mod oidc;
mod pipeline;
mod policy;
mod postgres;
mod prism;
mod reference;
mod repo;
#[allow(dead_code, reason = "how tests run the binary: wider than the tests of one day")]
mod service;
mod store;
mod time;
#[allow(dead_code, reason = "what tests deliver: wider than the tests of one day")]
mod webhooks;

/// Counts what the tests allocate, for `decoder_memory`.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
