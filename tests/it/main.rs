//! The one test binary: everything that needs more than a function call.
