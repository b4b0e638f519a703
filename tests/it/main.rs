//! The one integration test binary: tests that need files, processes, a network or a database.

#[allow(dead_code, reason = "helpers that run a job; no test uses all of them")]
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
#[allow(dead_code, reason = "helpers that run the binary; no test uses all of them")]
mod service;
mod store;
mod time;
#[allow(dead_code, reason = "payloads to deliver; no test uses all of them")]
mod webhooks;

/// Counts what the tests allocate, for `decoder_memory`.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
