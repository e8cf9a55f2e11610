export function median(values) {
  return quantile(values, 0.5);
}

export function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}

/**
 * The 95% interval of the median of groups of values, or of what `of` says of them, by the bootstrap: groups are drawn,
 * then values of each. What the values of a group have in common, such as how a process was compiled, so counts as often
 * as there are groups.
 */
export function interval(groups, draws = 2_000, of = median) {
  const pick = (list) => Array.from(list, () => list[Math.floor(Math.random() * list.length)]);
  const medians = Array.from({ length: draws }, () => of(pick(groups).flatMap(pick)));
  return [quantile(medians, 0.025), quantile(medians, 0.975)];
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, n) => (n === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}
