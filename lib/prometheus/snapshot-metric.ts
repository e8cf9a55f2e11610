import type { SseMetrics } from '../index.js';
import type { DurationFamily, MetricFamily } from '../metrics/index.js';

/** A value as prom-client prints it. */
interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  /** The name of the line, if it is not that of the metric. */
  readonly metricName?: string;
}

type Kind = 'counter' | 'gauge' | 'histogram';

/**
 * A metric whose values are read when it is scraped. prom-client's own classes keep values, and their histogram takes
 * nothing but single observations.
 */
class SnapshotMetric {
  /** prom-client renames counters for OpenMetrics, which appends `_total` itself. */
  name: string;
  readonly help: string;
  readonly type: Kind;
  /** How prom-client's cluster registry joins the values of several processes. */
  readonly aggregator: 'sum' | 'max';
  readonly #read: () => readonly Sample[];

  constructor(
    init: { name: string; help: string; type: Kind; aggregator: 'sum' | 'max' },
    read: () => readonly Sample[],
  ) {
    this.name = init.name;
    this.help = init.help;
    this.type = init.type;
    this.aggregator = init.aggregator;
    this.#read = read;
  }

  // Read before the first await: all metrics of a scrape share a turn.
  async get(): Promise<object> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.#read() };
  }

  /** Called by `registry.resetMetrics()`. The counts are those of the process, and are not kept here. */
  reset(): void {
    return;
  }
}

/** Returns the metric of a family, named by the conventions of Prometheus. */
export function familyMetric(family: MetricFamily, read: () => SseMetrics): SnapshotMetric {
  const { kind, unit, help, label, joinedBy } = family;
  const name = `${nameOf(family.name)}${unit === 'By' ? '_bytes' : ''}${kind === 'counter' ? '_total' : ''}`;
  return new SnapshotMetric({ name, help, type: kind, aggregator: joinedBy }, () => {
    const values = family.read(read());
    if (typeof values === 'number') {
      return [{ value: values, labels: {} }];
    }
    return Object.entries(values).map(([key, value]) => ({ value, labels: { [label!]: key } }));
  });
}

/** Returns the histogram of a family, in seconds. */
export function durationMetric(family: DurationFamily, read: () => SseMetrics): SnapshotMetric {
  const name = `${nameOf(family.name)}_seconds`;
  return new SnapshotMetric({ name, help: family.help, type: 'histogram', aggregator: 'sum' }, () => {
    const { boundsMs, counts, count, sumMs } = family.read(read());
    let below = 0;
    const buckets = boundsMs.map((bound, index): Sample => {
      below += counts[index]!;
      return { metricName: `${name}_bucket`, labels: { le: bound / 1_000 }, value: below };
    });
    const rest: Sample[] = [
      { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count },
      { metricName: `${name}_sum`, labels: {}, value: sumMs / 1_000 },
      { metricName: `${name}_count`, labels: {}, value: count },
    ];
    return [...buckets, ...rest];
  });
}

function nameOf(name: string): string {
  return name.replaceAll('.', '_');
}
