import { ServerResponse } from 'node:http';
import { context, trace } from '@opentelemetry/api';
import type { Attributes, Context, Histogram, Meter, MeterProvider, Span } from '@opentelemetry/api';
import { isEventStream, whenAnswered } from '../index.js';

/** The histograms of `@opentelemetry/instrumentation-http` for requests to a server, with milliseconds in a unit. */
const MS_IN_UNIT: Readonly<Record<string, number>> = {
  'http.server.request.duration': 1_000,
  // Before the stable conventions.
  'http.server.duration': 1,
};

/**
 * Keeps event streams from counting as requests of an hour with `@opentelemetry/instrumentation-http`: in its histogram
 * a stream counts with the time until its headers. The value is recorded when the stream ends, as the instrumentation
 * records. The span lasts as long as the stream; it gets the attribute `sse.stream` and the event `sse.stream.open`, by
 * which figures that are made from spans can leave it out.
 *
 * Use it after the SDK has started, in `main.ts` for example: to import it loads Nest, and instrumentations of Nest must
 * be there before.
 *
 * @example
 * ```ts
 * const streams = new StreamsInHttp();
 * http.setConfig({ ...http.getConfig(), responseHook: streams.responseHook });
 * http.setMeterProvider(streams.measure(metrics.getMeterProvider()));
 * ```
 */
export class StreamsInHttp {
  /** Milliseconds from the request to the headers of its stream. */
  readonly #waits = new WeakMap<Span, number>();

  /** The option `responseHook` of the instrumentation, which calls it for each response as soon as its request has come. */
  readonly responseHook = (span: Span, response: unknown): void => {
    // The instrumentation calls it for the responses of other servers to this process as well.
    if (!(response instanceof ServerResponse)) {
      return;
    }
    const startedAt = performance.now();
    whenAnswered(response, () => {
      if (isEventStream(response)) {
        this.#waits.set(span, performance.now() - startedAt);
        span.setAttribute('sse.stream', true);
        span.addEvent('sse.stream.open');
      }
    });
  };

  /**
   * Wraps the provider of meters that the instrumentation is given. Other instruments pass through as they are.
   *
   * @returns a provider for `setMeterProvider` of the instrumentation
   */
  measure(provider: MeterProvider): MeterProvider {
    return { getMeter: (...args) => this.#measureWith(provider.getMeter(...args)) };
  }

  #measureWith(meter: Meter): Meter {
    const createHistogram: Meter['createHistogram'] = (name, options) => {
      const histogram = meter.createHistogram(name, options);
      const msInUnit = MS_IN_UNIT[name];
      return msInUnit === undefined ? histogram : this.#untilHeaders(histogram, msInUnit);
    };
    return new Proxy(meter, {
      get: (target, key) => {
        const value: unknown = key === 'createHistogram' ? createHistogram : Reflect.get(target, key);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  #untilHeaders(histogram: Histogram, msInUnit: number): Histogram {
    return {
      record: (value: number, attributes?: Attributes, recordedIn: Context = context.active()) => {
        const span = trace.getSpan(recordedIn);
        const waitMs = span && this.#waits.get(span);
        histogram.record(waitMs === undefined ? value : waitMs / msInUnit, attributes, recordedIn);
      },
    };
  }
}
