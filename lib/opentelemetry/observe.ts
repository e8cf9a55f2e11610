import { metrics as globalMetrics } from '@opentelemetry/api';
import type { Attributes, BatchObservableResult, Meter, MeterProvider, Observable } from '@opentelemetry/api';
import type { SseMetrics, SseService } from '../index.js';
import { DURATION_FAMILIES, METRIC_FAMILIES } from '../metrics/index.js';
import type { MetricFamily } from '../metrics/index.js';

/** Where the metrics are observed. */
export interface SseOpenTelemetryOptions {
  /**
   * The provider of the meter, whose name is `nestjs-event-stream`.
   *
   * @defaultValue the global provider of `@opentelemetry/api`
   */
  meterProvider?: MeterProvider;
}

/** Reports what one instrument observes in a snapshot. */
type Report = (metrics: SseMetrics, result: BatchObservableResult) => void;

/**
 * Observes the metrics of this package by OpenTelemetry. They are read from `sse.metrics` when a reader collects, and
 * cost nothing in between. Their names begin with `sse.`. OpenTelemetry has no histogram that is observed: a duration is
 * its sum, in seconds, and its count.
 *
 * Use it in place of {@link SseOpenTelemetryModule} if an app has several `SseModule`s.
 *
 * @param sse - the service whose metrics are observed
 * @returns a function that ends it
 */
export function observeSseMetrics(
  sse: Pick<SseService, 'metrics'>,
  { meterProvider = globalMetrics.getMeterProvider() }: SseOpenTelemetryOptions = {},
): () => void {
  const meter = meterProvider.getMeter('nestjs-event-stream');
  const instruments: Observable[] = [];
  const reports: Report[] = [];
  for (const family of METRIC_FAMILIES) {
    const instrument = instrumentOf(family, meter);
    instruments.push(instrument);
    reports.push((metrics, result) => {
      const values = family.read(metrics);
      for (const [value, attributes] of samplesOf(values, family.label)) {
        result.observe(instrument, value, attributes);
      }
    });
  }
  for (const family of DURATION_FAMILIES) {
    const { name, help } = family;
    const sum = meter.createObservableCounter(`${name}.sum`, { description: `${help} The sum.`, unit: 's' });
    const count = meter.createObservableCounter(`${name}.count`, { description: `${help} The count.` });
    instruments.push(sum, count);
    reports.push((metrics, result) => {
      const durations = family.read(metrics);
      result.observe(sum, durations.sumMs / 1_000);
      result.observe(count, durations.count);
    });
  }
  const observe = (result: BatchObservableResult): void => {
    const { metrics } = sse;
    reports.forEach((report) => report(metrics, result));
  };
  meter.addBatchObservableCallback(observe, instruments);
  return () => meter.removeBatchObservableCallback(observe, instruments);
}

function instrumentOf(
  { name, kind, joinedBy, unit, help: description }: MetricFamily,
  meter: Meter,
): Observable {
  if (kind === 'counter') {
    return meter.createObservableCounter(name, { unit, description });
  }
  return joinedBy === 'sum'
    ? meter.createObservableUpDownCounter(name, { unit, description })
    : meter.createObservableGauge(name, { unit, description });
}

function samplesOf(
  values: ReturnType<MetricFamily['read']>,
  label: string | undefined,
): readonly (readonly [value: number, attributes: Attributes])[] {
  return typeof values === 'number'
    ? [[values, {}]]
    : Object.entries(values).map(([key, value]) => [value, { [label!]: key }]);
}
