//! The parts the method is made of, each with its own switch. The gate always uses all of them;
//! the benchmark takes one away at a time, to show what it is for.

/// Which parts are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, for the benchmark alone")]
pub struct Ablation {
    /// The machine's speed is taken out.
    pub machine: bool,
    /// A job with its own machine is measured by itself.
    pub jobs: bool,
    /// Each stage follows the machine as strongly as it does, not fully.
    pub exposure: bool,
    /// Known cache states are taken out.
    pub cache_state: bool,
    /// Where they are unknown, gross slow samples form a rare slow mode.
    pub slow_mode: bool,
    /// The prediction follows where the stage stands lately.
    pub level: bool,
    /// Lasting changes of the baseline are moved to the present level.
    pub segments: bool,
    /// Scales are shrunk towards each other.
    pub shrinkage: bool,
    /// The evidence is averaged over what is not known of scale and level.
    pub uncertainty: bool,
    /// New samples are expected to scatter more than those that were fitted.
    pub optimism: bool,
    /// Each stage has its own rate of reaching the tail.
    pub rates: bool,
    /// The chance of a false alarm is spread by what can be found.
    pub budget: bool,
}

impl Ablation {
    /// The method.
    pub const ALL: Self = Self {
        machine: true,
        jobs: true,
        exposure: true,
        cache_state: true,
        slow_mode: true,
        level: true,
        segments: true,
        shrinkage: true,
        uncertainty: true,
        optimism: true,
        rates: true,
        budget: true,
    };
}
