//! The parts of the method, each with a switch. The gate always uses all of them. The benchmark
//! switches off one at a time to show its effect.

/// The parts that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, for the benchmark only")]
pub struct Ablation {
    /// Durations are adjusted for the runner's speed.
    pub runner_speed: bool,
    /// The runner speed of a job with enough stages is estimated from that job only.
    pub jobs: bool,
    /// Each stage has its own exposure to the runner's speed, instead of 1.
    pub exposure: bool,
    /// Durations are adjusted for known cache states.
    pub cache_state: bool,
    /// Where cache states are unknown, much slower samples form a rare slow mode.
    pub slow_mode: bool,
    /// The prediction follows the stage's recent level.
    pub level: bool,
    /// Lasting changes of the baseline are moved to the present level.
    pub segments: bool,
    /// Scales are shrunk towards each other.
    pub shrinkage: bool,
    /// The evidence is averaged over the uncertainty of scale and level.
    pub uncertainty: bool,
    /// New samples are expected to scatter more than those that were fitted.
    pub optimism: bool,
    /// Each stage has its own rate of reaching the tail.
    pub rates: bool,
    /// The allowed false alarms are allocated to stages by what can be detected on them.
    pub allocation: bool,
}

impl Ablation {
    pub const ALL: Self = Self {
        runner_speed: true,
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
        allocation: true,
    };
}
