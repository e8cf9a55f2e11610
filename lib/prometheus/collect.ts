import { register } from 'prom-client';
import type { Metric, Registry } from 'prom-client';
import type { SseMetrics, SseService } from '../index.js';
import { SseError } from '../errors/index.js';
import { DURATION_FAMILIES, METRIC_FAMILIES } from '../metrics/index.js';
import { familyMetric, durationMetric } from './snapshot-metric.js';

/** Where the metrics are registered. */
export interface SsePrometheusOptions {
  /**
   * The registry of prom-client that is scraped.
   *
   * @defaultValue prom-client's global `register`
   */
  registry?: Registry;
}

/**
 * Registers the metrics of this package with a registry of prom-client. They are read from `sse.metrics` at each scrape,
 * and cost nothing in between. Their names begin with `sse_`: see `lib/metrics/README.md` for all of them.
 *
 * Use it in place of {@link SsePrometheusModule} if an app has several `SseModule`s: give each a registry of its own,
 * with default labels that tell them apart.
 *
 * @param sse - the service whose metrics are collected
 * @returns a function that removes the metrics from the registry
 * @throws SseError `misuse` if the registry has metrics of these names already
 */
export function collectSseMetrics(
  sse: Pick<SseService, 'metrics'>,
  { registry = register }: SsePrometheusOptions = {},
): () => void {
  const read = oncePerScrape(() => sse.metrics);
  const metrics = [
    ...METRIC_FAMILIES.map((family) => familyMetric(family, read)),
    ...DURATION_FAMILIES.map((family) => durationMetric(family, read)),
  ];
  const taken = metrics.find(({ name }) => registry.getSingleMetric(name));
  if (taken) {
    throw new SseError(
      'misuse',
      `The registry has a metric ${taken.name} already. Import SsePrometheusModule or call collectSseMetrics() once ` +
        'for each registry; in tests, close the app before, or give each app a registry of its own.',
    );
  }
  const names = metrics.map(({ name }) => name);
  // prom-client accepts whatever has a name and get(), which its types do not say.
  metrics.forEach((metric) => registry.registerMetric(metric as unknown as Metric));
  return () => names.forEach((name) => registry.removeSingleMetric(name));
}

/** A scrape reads all metrics in one turn: they share a snapshot, which is one moment. */
function oncePerScrape(take: () => SseMetrics): () => SseMetrics {
  let taken: SseMetrics | undefined;
  return () => {
    if (!taken) {
      taken = take();
      queueMicrotask(() => (taken = undefined));
    }
    return taken;
  };
}
