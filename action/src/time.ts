// Timestamps in OpenTelemetry's form.

/** Nanoseconds since the epoch, as text, with a resolution of one millisecond. */
export function unixNano(milliseconds: number = Date.now()): string {
  return (BigInt(Math.floor(milliseconds)) * 1_000_000n).toString();
}
