/** One example of each kind of fault, with how often it was seen: one cause may have hundreds of them. */
export function kindsOf(faults: readonly string[]): Record<string, number> {
  const kinds = new Map<string, { example: string; times: number }>();
  for (const example of faults) {
    const kind = example.replace(/\w*\d[\w-]*/g, '#');
    kinds.set(kind, {
      example: kinds.get(kind)?.example ?? example,
      times: (kinds.get(kind)?.times ?? 0) + 1,
    });
  }
  return Object.fromEntries(Array.from(kinds.values(), ({ example, times }) => [example, times]));
}

/** The names of what never happened. */
export const zeros = (counts: Record<string, number>) =>
  Object.entries(counts).flatMap(([name, times]) => (times > 0 ? [] : [name]));
