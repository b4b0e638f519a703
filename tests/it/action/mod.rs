//! The companion action as a job runs it: the built bundle under Node in a stand-in for GitHub's
//! runner, with the runner's services on loopback. Some tests run whole jobs up to the verdict.

mod archive;
mod artifact_service;
mod bundle;
mod failures;
mod fast_path;
mod recording;
mod runner;
mod whole_jobs;
