// Finds the spans with the most time of their own: duration minus the time that children cover.
// A slow test then ranks before its suite. Pure. Malformed trees (cycles, missing parents, ends
// before starts) give zeros, never an error.

import type { Seen } from "./archive/spans.ts";

export interface Part {
  readonly span: Seen;
  readonly totalNs: bigint;
  readonly ownNs: bigint;
}

/** The `count` spans with the most time of their own, longest first. Of spans with the same id only the first counts. */
export function longestParts(spans: readonly Seen[], count: number): Part[] {
  // With copies, the same children would be sorted once for each copy of their parent.
  const unique = new Map<string, Seen>();
  for (const span of spans) {
    if (!unique.has(span.id)) unique.set(span.id, span);
  }
  const children = new Map<string, Seen[]>();
  for (const span of unique.values()) {
    const siblings = children.get(span.parent);
    if (siblings === undefined) children.set(span.parent, [span]);
    else siblings.push(span);
  }
  return [...unique.values()]
    .map((span) => ({ span, totalNs: length(span.startNs, span.endNs), ownNs: ownTime(span, children.get(span.id) ?? []) }))
    .filter(({ ownNs }) => ownNs > 0n)
    .sort((a, b) => (a.ownNs === b.ownNs ? (a.span.id < b.span.id ? -1 : 1) : a.ownNs > b.ownNs ? -1 : 1))
    .slice(0, count);
}

function length(start: bigint, end: bigint): bigint {
  return end > start ? end - start : 0n;
}

/** Nanoseconds that no child covers. Children may overlap and reach beyond their parent. */
function ownTime(span: Seen, children: readonly Seen[]): bigint {
  const total = length(span.startNs, span.endNs);
  let covered = 0n;
  let until = span.startNs;
  for (const child of [...children].sort((a, b) => (a.startNs < b.startNs ? -1 : a.startNs > b.startNs ? 1 : 0))) {
    const start = child.startNs > until ? child.startNs : until;
    const end = child.endNs < span.endNs ? child.endNs : span.endNs;
    if (end > start) {
      covered += end - start;
      until = end;
    }
  }
  return total - covered;
}
