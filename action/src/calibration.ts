// How fast the machine is right now: a fixed piece of integer work and a fixed walk through
// memory, each a few times, the quickest counting. It takes 200 ms at most and allocates 16 MiB.

const ROUNDS = 5;
const INTEGER_STEPS = 4_000_000;
const MEMORY_STEPS = 200_000;
/** A power of two of 32-bit places: 16 MiB, more than most caches that one core has alone. */
const MEMORY_PLACES = 1 << 22;
const BUDGET_NS = 200_000_000n;

/** Nanoseconds that the fixed pieces of work took. */
export interface Calibration {
  readonly integer_ns: number;
  readonly memory_ns: number;
}

/** Measures, or null when not even one round of both fits into the budget. */
export function calibrate(now: () => bigint): Calibration | null {
  const end = now() + BUDGET_NS;
  const places = chain();
  const quickest = (work: () => number, until: bigint): number | null => {
    let best: number | null = null;
    for (let round = 0; round < ROUNDS; round += 1) {
      const begun = now();
      // The result is used, so that the work is not optimised away.
      const spent = work() === -1 ? 0n : now() - begun;
      best = best === null ? Number(spent) : Math.min(best, Number(spent));
      // Another round would take as long as this one.
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

/** Xorshift: each step needs the one before. */
function integerWork(): number {
  let state = 0x9e3779b9 | 0;
  for (let step = 0; step < INTEGER_STEPS; step += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  return state >>> 0;
}

/** Each place names the next; all are on one circle, and no two neighbours in memory follow one another. */
function chain(): Int32Array {
  const places = new Int32Array(MEMORY_PLACES);
  const mask = MEMORY_PLACES - 1;
  // A linear congruential generator of full period: odd increment, factor one more than a multiple of 4.
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
