"""A second implementation of the decision on durations, to check the crate's.

Plain numpy, written by formula without regard to speed. Shares only the constants of the method with
the crate. Reads a JSON list of cases from standard input (see `judge_case`) and writes the result of
each. Tables are runs (oldest first) by stages; NaN is a missing value.
"""

import json
import math
import sys

import numpy as np

MAD_TO_DEVIATION = 1.4826
DEGREES = (3.0, 4.0, 6.0, 10.0, 30.0)
DYNAMICS = [(1.0, 0.0)] + [(p, g) for p in (1.0, 0.9, 0.7) for g in (0.05, 0.1, 0.2, 0.4)]
ROUNDS = 5
ROUNDS_THAT_CHOOSE_DYNAMICS = (1, 3)
ROUNDS_THAT_CHOOSE_DEGREES = (0, 1, 3)
EM_STEPS = 5
ENOUGH_TO_CHOOSE = 12_000
LEVEL_WARM_UP = 4
ALPHA = 0.025


# ---- robust statistics ----


def column_medians(table):
    """Median of each column; 0 for a column without values."""
    has_values = np.isfinite(table).any(axis=0)
    medians = np.zeros(table.shape[1])
    medians[has_values] = np.nanmedian(table[:, has_values], axis=0)
    return medians


def median_scales(residuals, floors):
    return np.maximum(MAD_TO_DEVIATION * column_medians(np.abs(residuals)), floors)


def robust_weight(z):
    """Weight of an observation at z for Student's t noise with 4 degrees of freedom."""
    return 5.0 / (4.0 + z**2)


def observed(table):
    return np.isfinite(table).sum(axis=0)


# ---- Student's t ----


def ln_density(z, degrees):
    constant = (
        math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    )
    return constant - 0.5 * (degrees + 1) * np.log1p(z**2 / degrees)


def ln_likelihood(residuals, degrees, scales):
    return np.nansum(ln_density(residuals / scales, degrees) - np.log(scales))


def improve_scales(scales, residuals, degrees, floors):
    """A few steps of expectation maximisation towards the maximum-likelihood scales."""
    samples = np.maximum(observed(residuals), 1)
    variance = scales**2
    for _ in range(EM_STEPS):
        weight = (degrees + 1) / (degrees + residuals**2 / variance)
        variance = np.maximum(np.nansum(weight * residuals**2, axis=0) / samples, floors**2)
    return np.sqrt(variance)


def shrink_scales(scales, samples, degrees):
    """Empirical Bayes on ln variance. Returns the scales and the standard deviation of each ln scale."""
    ln_variance = 2 * np.log(scales)
    sampling = 2 * (degrees + 3) / (degrees * np.maximum(samples, 1))
    centre = np.median(ln_variance)
    spread = MAD_TO_DEVIATION * np.median(np.abs(ln_variance - centre))
    real = max(spread**2 - np.median(sampling), 0.05)
    share = real / (real + sampling)
    return np.exp(0.5 * (centre + share * (ln_variance - centre))), 0.5 * np.sqrt(share * sampling)


# ---- runner speed, from the other stages ----


def robust_means(values, precision, counts):
    """Robust mean of each row: starts at the median and reweights four times. Returns the means and the
    final weights. `counts` selects the columns that take part."""
    taking_part = np.isfinite(values) & counts
    filled = np.where(taking_part, values, 0.0)
    prior_weight = np.where(taking_part, precision**2, 0.0)
    mean = column_medians(np.where(taking_part, values, np.nan).T)
    weight = prior_weight
    for _ in range(4):
        weight = prior_weight * robust_weight((filled - mean[:, None]) * precision)
        total = weight.sum(axis=1)
        product = (weight * filled).sum(axis=1)
        mean = np.divide(product, total, out=np.zeros(len(mean)), where=total > 0)
    return mean, weight


class Scope:
    """Reference stages of one runner. `audience` pairs each stage that they describe with the reference
    stages that are part of it."""

    def __init__(self, leaves, audience):
        self.leaves = np.array(leaves, dtype=int)
        self.audience = audience

    def means(self, deviations, exposure, scale, counts):
        leaf_exposure = np.maximum(exposure[self.leaves], 0.15)
        values = deviations[:, self.leaves] / leaf_exposure
        return values, *robust_means(values, leaf_exposure / scale[self.leaves], counts)

    def levels(self, deviations, exposure, scale, into):
        all_leaves = np.ones(len(self.leaves), dtype=bool)
        if len(self.leaves) <= 15:
            for stage, own in self.audience:
                others = all_leaves & ~np.isin(self.leaves, own)
                into[:, stage] = self.means(deviations, exposure, scale, others)[1]
            return
        values, _, weight = self.means(deviations, exposure, scale, all_leaves)
        total = weight.sum(axis=1)
        for stage, own in self.audience:
            others = np.where(np.isin(self.leaves, own), 0.0, weight)
            enough = others.sum(axis=1) > 1e-9 * total
            product = (others * np.nan_to_num(values)).sum(axis=1)
            into[:, stage] = np.divide(
                product, others.sum(axis=1), out=np.zeros(len(total)), where=enough
            )


class ReferenceStages:
    """One scope over all jobs, and one for each job with enough reference stages."""

    def __init__(self, is_reference, job, within):
        all_leaves = [i for i, reference in enumerate(is_reference) if reference]
        self.scopes = [Scope(all_leaves, [])]
        for stage in range(len(job)):
            own = within[stage]
            alone = not set(own) <= {stage} and len(all_leaves) - len(own) < 3
            self.scopes[0].audience.append((stage, [] if alone else own))
        for name in sorted({job[i] for i in all_leaves if job[i] is not None}):
            leaves = [i for i in all_leaves if job[i] == name]
            if len(leaves) < 4 or len(leaves) == len(all_leaves):
                continue
            scope = Scope(leaves, [])
            for stage in range(len(job)):
                own = [i for i in within[stage] if i in leaves]
                alone = not set(own) <= {stage} and len(leaves) - len(own) < 3
                if job[stage] == name and not alone:
                    scope.audience.append((stage, own))
            self.scopes.append(scope)

    def levels(self, deviations, exposure, scale):
        levels = np.zeros(deviations.shape)
        for scope in self.scopes:
            scope.levels(deviations, exposure, scale, levels)
        return levels

    def machine(self, deviations, exposure, scale):
        """The reported runner speed of each run: over all reference stages, at their median exposure."""
        scope = self.scopes[0]
        if len(scope.leaves) == 0:
            return np.zeros(len(deviations))
        all_leaves = np.ones(len(scope.leaves), dtype=bool)
        level = scope.means(deviations, exposure, scale, all_leaves)[1]
        return np.median(exposure[scope.leaves]) * level


def choose_reference_stages(is_reference, job, within, logs):
    """One runner for all jobs or one for each job, by the smaller unexplained spread."""
    together = ReferenceStages(is_reference, [None] * len(job), within)
    apart = ReferenceStages(is_reference, job, within)
    if len(apart.scopes) == 1:
        return together
    deviations = logs - column_medians(logs)
    floors = np.full(len(job), 1e-3)
    scales = median_scales(deviations, floors)
    in_jobs = np.concatenate([scope.leaves for scope in apart.scopes[1:]])

    def unexplained(references):
        left = deviations - references.levels(deviations, np.ones(len(job)), scales)
        return np.log(median_scales(left, floors)[in_jobs]).sum()

    return apart if unexplained(apart) < unexplained(together) else together


# ---- the level: recent drift of a stage ----


def follow_levels(residuals, scales, dynamics):
    """The estimate of each stage's level before each run, and after the last run."""
    persistence, gain = dynamics
    before = np.zeros(residuals.shape)
    level = np.zeros(residuals.shape[1])
    for run, row in enumerate(residuals):
        before[run] = level
        surprise = np.nan_to_num(row - level, nan=0.0)
        level = persistence * (level + gain * robust_weight(surprise / scales) * surprise)
    return before, level


def choose_dynamics(residuals, scales, degrees):
    def likelihood(dynamics):
        left = residuals - follow_levels(residuals, scales, dynamics)[0]
        return ln_likelihood(left[LEVEL_WARM_UP:], degrees, scales)

    return max(DYNAMICS, key=likelihood)


# ---- the fit ----


class Model:
    """ln(duration) = usual + exposure x machine + level + noise; the parts are fitted in turn."""

    def __init__(self, logs, clock, rare_state, references):
        self.logs, self.clock, self.rare_state = logs, clock, rare_state
        self.references = references
        self.runs, self.stages = logs.shape
        self.degrees, self.dynamics = 4.0, (0.9, 0.1)
        self.usual = column_medians(logs)
        self.exposure = np.ones(self.stages)
        self.state_shift = [None] * self.stages
        self.predicted = np.zeros(logs.shape)
        self.level = np.zeros(self.stages)
        self.is_slow = np.zeros(logs.shape, dtype=bool)
        self.fit()

    def fit(self):
        of_runs = column_medians((self.logs - self.usual).T)
        machine = np.repeat(of_runs[:, None], self.stages, axis=1)
        floors = self.floors()
        self.scale = median_scales(self.logs - machine - self.usual, floors)
        own_scale = self.scale
        some = slice(None, None, max(math.ceil(self.logs.size / ENOUGH_TO_CHOOSE), 1))
        for turn in range(ROUNDS):
            adjusted = self.without_states(machine)
            if turn == 0:
                self.usual = column_medians(adjusted)
                floors = self.floors()
            deviations = self.without_slow(adjusted - self.predicted - self.usual)
            machine = self.references.levels(deviations, self.exposure, self.scale)
            self.expose(adjusted, machine)
            self.centre(adjusted - self.exposure * machine)
            clean = self.without_slow(self.residuals)
            if turn in ROUNDS_THAT_CHOOSE_DYNAMICS:
                self.dynamics = choose_dynamics(clean[:, some], self.scale[some], self.degrees)
            if turn > 0:
                self.predicted, self.level = follow_levels(clean, self.scale, self.dynamics)
            left = clean - self.predicted
            if turn in ROUNDS_THAT_CHOOSE_DEGREES:
                self.choose_degrees(left[:, some], own_scale[some], floors[some])
            own_scale = improve_scales(own_scale, left, self.degrees, floors)
            shrunk, self.ln_scale_deviation = shrink_scales(own_scale, observed(left), self.degrees)
            self.scale = np.maximum(shrunk, floors)
            if turn > 0:
                self.find_slow_modes()
        samples = np.maximum(observed(self.logs), 1)
        self.level_deviation = self.scale * np.sqrt(self.dynamics[1] + 2 / samples)
        self.slow_mode = [self.describe_slow_mode(stage) for stage in range(self.stages)]

    def floors(self):
        return np.maximum(0.35 * self.clock / np.exp(self.usual), 0.003)

    def without_slow(self, table):
        return np.where(self.is_slow, np.nan, table)

    def without_states(self, machine):
        """Removes the shift between cache states. Samples of an unknown state become missing, and so do
        samples of a rare state whose shift cannot be estimated."""
        adjusted = self.logs.copy()
        for stage, states in enumerate(self.rare_state):
            if states is None:
                continue
            residuals = (
                self.logs[:, stage] - self.usual[stage] - self.exposure[stage] * machine[:, stage]
            )
            rare = residuals[(states > 0) & np.isfinite(residuals)]
            usual = residuals[(states == 0) & np.isfinite(residuals)]
            known = min(len(rare), len(usual)) >= 3
            self.state_shift[stage] = np.median(rare) - np.median(usual) if known else np.nan
            adjusted[:, stage] -= shifts_of(states, self.state_shift[stage])
        return adjusted

    def expose(self, adjusted, machine):
        """How strongly each stage follows the runner's speed: robust regression, shrunk towards 1."""
        limit = 3 * self.scale + 0.5
        deviations = np.clip(adjusted - self.usual, -limit, limit)
        weight = robust_weight((deviations - self.exposure * machine) / self.scale)
        weight = np.where(np.isnan(deviations) | self.is_slow, 0.0, weight)
        product = (weight * machine * np.nan_to_num(deviations)).sum(axis=0)
        square = (weight * machine**2).sum(axis=0)
        leaves = self.references.scopes[0].leaves
        precision = ((np.maximum(self.exposure, 0.15) / self.scale)[leaves] ** 2).sum()
        noise = len(machine) * (1.3 / precision if precision > 0 else 0.0)
        prior = 0.05 * (1e-9 + (machine**2).sum(axis=0)) + 2 * noise
        self.exposure = np.clip((product + prior) / (square + prior), 0.0, 1.3)

    def centre(self, without_machine):
        residuals = without_machine - self.usual
        centres = column_medians(self.without_slow(residuals))
        self.usual = self.usual + centres
        self.residuals = residuals - centres

    def choose_degrees(self, left, start, floors):
        def likelihood(degrees):
            return ln_likelihood(left, degrees, improve_scales(start, left, degrees, floors))

        self.degrees = max(DEGREES, key=likelihood)

    def find_slow_modes(self):
        """For stages without cache states, very slow samples form a rare mode."""
        limit = np.maximum(5 * self.scale, math.log(1.15))
        self.is_slow = self.residuals - self.predicted > limit
        no_mode = self.is_slow.sum(axis=0) >= 0.4 * self.runs
        no_mode |= [states is not None for states in self.rare_state]
        self.is_slow[:, no_mode] = False

    def describe_slow_mode(self, stage):
        """Shift, scale and share; None for a stage without a slow mode."""
        slow = (self.residuals - self.predicted)[self.is_slow[:, stage], stage]
        if len(slow) == 0:
            return None
        shift = np.median(slow)
        spread = MAD_TO_DEVIATION * np.median(np.abs(slow - shift))
        least = 0.1 if len(slow) < 3 else 0.0
        share = (len(slow) + 0.05) / (observed(self.residuals)[stage] + 1)
        return shift, max(spread, 1.5 * self.scale[stage], least), share

    def deviations(self, logs, rare_state):
        """Deviations of new runs from their predictions, and the speed of their runners."""
        adjusted = logs.copy()
        for stage, shift in enumerate(self.state_shift):
            if shift is not None:
                adjusted[:, stage] -= shifts_of(rare_state[:, stage], shift)
        fade = self.dynamics[0] ** np.arange(len(logs))[:, None]
        deviations = adjusted - self.usual - fade * self.level
        seen = self.references.levels(deviations, self.exposure, self.scale)
        machine = self.references.machine(deviations, self.exposure, self.scale)
        return deviations - self.exposure * seen, machine

    def past_blocks(self, size):
        """Each block of consecutive past runs, treated as new: [size, blocks, stages]."""
        first = min(self.runs // 3, 4)
        starts = np.arange(first, self.runs - size + 1)
        fade = self.dynamics[0] ** np.arange(size)
        blocks = [self.residuals[starts + k] - fade[k] * self.predicted[starts] for k in range(size)]
        return np.array(blocks)


def shifts_of(states, shift):
    """The shift for state 1, zero for state 0, NaN for an unknown state."""
    return np.where(np.isnan(states), np.nan, np.where(states > 0, shift, 0.0))


# ---- evidence ----


def ln_of_mean_exp(terms, weights):
    largest = terms.max(axis=0)
    weighted = np.tensordot(weights, np.exp(terms - largest), axes=1)
    return largest + np.log(weighted)


def block_ln_likelihood(model, stage, samples, shift, factor):
    """ln likelihood of blocks [size, blocks] that were all moved by `shift` [blocks], averaged over
    three scales and three levels. Missing samples are ignored."""
    nodes = [(-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6)]
    there = np.isfinite(samples)
    size = there.sum(axis=0)
    samples = np.where(there, samples, 0.0)
    terms, weights = [], []
    for scale_node, scale_weight in nodes:
        scale = factor * model.scale[stage] * math.exp(scale_node * model.ln_scale_deviation[stage])
        for level_node, level_weight in nodes:
            moved = samples - shift - level_node * factor * model.level_deviation[stage]
            usual = ln_density(moved / scale, model.degrees) - math.log(scale)
            term = np.where(there, usual, 0.0).sum(axis=0)
            if model.slow_mode[stage] is not None:
                of_slow, scale_of_slow, share = model.slow_mode[stage]
                scale_of_slow = factor * scale_of_slow
                slow = ln_density((moved - of_slow) / scale_of_slow, model.degrees)
                slow = slow - math.log(scale_of_slow)
                either = np.logaddexp(usual + math.log1p(-share), slow + math.log(share))
                term = np.where(there, either, 0.0).sum(axis=0)
                # A slow mode tends to persist, so all samples may be in it together.
                stays = np.where(there, slow, 0.0).sum(axis=0) + math.log(share)
                stays = stays + math.log(0.3) * (size - 1)
                term = np.where(size > 1, np.logaddexp(term, stays), term)
            terms.append(term)
            weights.append(scale_weight * level_weight)
    return ln_of_mean_exp(np.array(terms), np.array(weights))


def evidence(model, stage, samples, factor):
    """ln likelihood ratio of "moved up" to "not moved" of blocks [size, blocks]. Returns the largest
    ratio, and every tried shift with its ratio."""
    slow = model.slow_mode[stage]
    there = np.isfinite(samples)
    mean = np.nan_to_num(samples).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    attempts = [*samples, mean]
    if slow is not None:
        attempts += [shift - slow[0] for shift in attempts]
    unmoved = block_ln_likelihood(model, stage, samples, np.zeros(samples.shape[1]), factor)
    shifts, ratios = [np.zeros(samples.shape[1])], [np.zeros(samples.shape[1])]
    for shift in attempts:
        shift = np.maximum(np.nan_to_num(shift, nan=0.0), 0.0)
        shifts.append(shift)
        ratios.append(block_ln_likelihood(model, stage, samples, shift, factor) - unmoved)
    shifts, ratios = np.array(shifts), np.array(ratios)
    return ratios.max(axis=0), shifts, ratios


# ---- false alarm probability ----


class Tail:
    """Tail of the evidence beyond the 95th percentile of past blocks: rate x exp(-slope x excess)."""

    def __init__(self, past, size, degrees):
        blocks, stages = past.shape
        exceeding = max(int(0.05 * past.size), 1)
        pooled = np.sort(past.ravel())
        self.start = pooled[-exceeding - 1] if past.size > exceeding else 0.0
        excess = np.maximum(past - self.start, 0.0).sum()
        own_slope = degrees / (degrees + 1)
        self.slope = min((exceeding / size + 20) / (excess / size + 20 / own_slope), 1.0)
        counts = (past > self.start).sum(axis=0)
        self.rates = 0.05 * (counts + 2 * size) / (0.05 * blocks + 2 * size)

    def probability(self, at, value):
        beyond = value - self.start
        return self.rates[at] * math.exp(-self.slope * beyond) if beyond > 0 else 1.0

    def evidence_at(self, at, probability):
        return self.start + max(math.log(self.rates[at] / probability), 0.0) / self.slope


def decisions(size):
    """Decisions with `size` samples in a pull request of four pushes; sizes above two count more."""
    return {1: 4, 2: 3}.get(size, 8)


def alpha_shares(deviations):
    """Each stage's share of the false alarm probability; the mean is 1."""
    deviations = np.array(deviations)
    alpha = ALPHA / decisions(2)
    upper_tail = np.vectorize(lambda x: 0.5 * math.erfc(x / math.sqrt(2)))
    shares = np.full(len(deviations), 0.1)
    for slowdown in (1.2, 1.3, 1.5):
        effect = np.minimum(math.log(slowdown) / deviations, 20.0)
        low, high = 0.0, 200.0
        for _ in range(60):
            middle = (low + high) / 2
            too_much = upper_tail(effect / 2 + middle / effect).sum() > alpha
            low, high = (middle, high) if too_much else (low, middle)
        parts = upper_tail(effect / 2 + high / effect)
        shares += 0.9 / 3 * parts * len(parts) / parts.sum()
    return shares


# ---- a case ----


def in_direction(model, direction):
    """Speedups are tested as slowdowns of mirrored data, without slow modes."""
    if direction == "slower":
        return model, 1.0
    mirrored = object.__new__(Model)
    mirrored.__dict__.update(model.__dict__, slow_mode=[None] * model.stages)
    return mirrored, -1.0


def judge_block(model, members, shares, deviations, direction):
    """Findings for the newest `len(deviations)` samples of each member, corrected for multiple tests."""
    size = len(deviations)
    noise, sign = in_direction(model, direction)
    past = sign * model.past_blocks(size)
    past = np.array([evidence(noise, stage, past[:, :, stage], 1.0)[0] for stage in members]).T
    tail = Tail(past, size, model.degrees)
    optimism = math.sqrt(1 + 8 / model.runs + 100 / model.runs**2)
    findings = []
    for at, stage in enumerate(members):
        samples = sign * deviations[:, stage]
        if not np.isfinite(samples).all():
            findings.append(None)
            continue
        value, shifts, ratios = evidence(noise, stage, samples[:, None], optimism)
        tests = len(members) * decisions(size) / shares[at]
        probability = tail.probability(at, value[0])
        together = min(probability * tests, 1.0)
        findings.append(
            {
                "evidence": value[0],
                "shifts": shifts[ratios > value - 1e-9].tolist(),
                "probability_of_stage": probability,
                "probability": together,
                "threshold": tail.evidence_at(at, ALPHA / tests),
                "is_rare": bool(together < ALPHA),
            }
        )
    return findings


def table(rows):
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def judge_case(case):
    """Keys of a case:
    - `logs`, `new_logs`: ln seconds, runs by stages
    - `clock_s`: resolution of the clock in seconds, by stage
    - `rare_state`: by stage, null or a list with 1, 0 or null for each run
    - `new_rare_state`: by run and stage
    - `is_reference`: by stage, whether it is a reference stage
    - `job`: by stage, null or a number
    - `within`: by stage, the leaves that it is or contains
    - `members`: stages that can become findings
    - `blocks`: block sizes, counted from the first new run
    """
    logs = table(case["logs"])
    states = [None if s is None else table([s])[0] for s in case["rare_state"]]
    references = choose_reference_stages(case["is_reference"], case["job"], case["within"], logs)
    model = Model(logs, np.array(case["clock_s"]), states, references)
    deviations, machine = model.deviations(table(case["new_logs"]), table(case["new_rare_state"]))
    members = case["members"]
    spread = np.sqrt(model.scale**2 / 2 + model.level_deviation**2)
    shares = alpha_shares(1.6 * spread[members])
    return {
        "degrees": model.degrees,
        "dynamics": model.dynamics,
        "scales": model.scale.tolist(),
        "slow_modes": model.slow_mode,
        "deviations": [[None if np.isnan(d) else d for d in row] for row in deviations],
        "machine": machine.tolist(),
        "predicted_s": np.exp(model.usual + model.level).tolist(),
        "findings": [
            {
                "size": size,
                "direction": direction,
                "stages": judge_block(model, members, shares, deviations[:size], direction),
            }
            for size in case["blocks"]
            for direction in ("slower", "faster")
        ],
    }


if __name__ == "__main__":
    json.dump([judge_case(case) for case in json.load(sys.stdin)], sys.stdout)
