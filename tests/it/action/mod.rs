//! The companion action as a job runs it: the built bundle under Node in a stand-in for GitHub's
//! runner, the services a runner talks to on loopback, and whole jobs whose trace is judged.

mod archive;
mod artifact_service;
mod bundle;
mod fast_path;
mod recording;
mod runner;
mod unharmed;
mod whole_jobs;
