// Measures the runner's current speed: fixed integer work and a fixed walk through memory, up to
// five times each; the fastest round counts. Takes at most 200 ms and allocates 16 MiB.

const ROUNDS = 5;
const INTEGER_STEPS = 4_000_000;
const MEMORY_STEPS = 200_000;
/** A power of two of 32-bit entries: 16 MiB, more than most caches that belong to one core. */
const MEMORY_PLACES = 1 << 22;
const BUDGET_NS = 200_000_000n;

/** Nanoseconds of the fastest round of each kind. */
export interface Calibration {
  readonly integer_ns: number;
  readonly memory_ns: number;
}

/** Returns null when one round of each kind does not fit into the budget. `now` is in nanoseconds. */
export function calibrate(now: () => bigint): Calibration | null {
  const end = now() + BUDGET_NS;
  const places = chain();
  const quickest = (work: () => number, until: bigint): number | null => {
    let best: number | null = null;
    for (let round = 0; round < ROUNDS; round += 1) {
      const begun = now();
      // Using the result keeps the work from being optimised away.
      const spent = work() === -1 ? 0n : now() - begun;
      best = best === null ? Number(spent) : Math.min(best, Number(spent));
      // The next round is expected to take as long as this one.
      if (now() + spent > until) break;
    }
    return best;
  };
  const begun = now();
  if (begun >= end) return null;
  const integer_ns = quickest(integerWork, begun + (end - begun) / 2n);
  if (now() >= end) return null;
  const memory_ns = quickest(() => memoryWork(places), end);
  return integer_ns === null || memory_ns === null ? null : { integer_ns, memory_ns };
}

/** Xorshift: each step depends on the previous one. */
function integerWork(): number {
  let state = 0x9e3779b9 | 0;
  for (let step = 0; step < INTEGER_STEPS; step += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  return state >>> 0;
}

/** Each entry holds the index of the next. All entries form one cycle, and neighbours in memory do not follow one another. */
function chain(): Int32Array {
  const places = new Int32Array(MEMORY_PLACES);
  const mask = MEMORY_PLACES - 1;
  // A linear congruential generator of full period: odd increment, and a factor that is 1 modulo 4.
  for (let place = 0; place < MEMORY_PLACES; place += 1) {
    places[place] = (Math.imul(place, 1_664_525) + 1_013_904_223) & mask;
  }
  return places;
}

function memoryWork(places: Int32Array): number {
  let place = 0;
  for (let step = 0; step < MEMORY_STEPS; step += 1) place = places[place] ?? 0;
  return place;
}
