// The clock, as OpenTelemetry writes it.

/** Nanoseconds since the epoch, as text; known to the millisecond. */
export function unixNano(milliseconds: number = Date.now()): string {
  return (BigInt(Math.floor(milliseconds)) * 1_000_000n).toString();
}
