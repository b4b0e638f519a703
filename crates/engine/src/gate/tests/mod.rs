//! Tests that need more than one room of the gate: whole synthetic histories, properties of
//! every verdict, adversarial input, unseen kinds of runner. `fixture` builds their input.

mod adversarial;
pub(crate) mod fixture;
mod properties;
mod scenarios;
mod unseen_runners;
