import type { RepeatedReport } from './errors/index.js';
import type { RunTracer } from './runs/index.js';
import type { Span as SseSpan } from './time/index.js';
import type { TopicTracer } from './topics/index.js';

/**
 * Makes spans of what this process does that takes time: see `SseService.traceWith`. It is not called for events that
 * are sent. An error that it throws is logged, and changes nothing.
 */
export interface SseTracer extends TopicTracer, RunTracer {}

const NO_SPAN: SseSpan<unknown> = { within: (call) => call(), end: () => undefined };

/** Returns a tracer that never throws: what it measures must not fail because of it. */
export function harmless(tracer: SseTracer, reports: RepeatedReport): SseTracer {
  const quietly = <T>(call: () => T, instead: T): T => {
    try {
      return call();
    } catch (error) {
      reports.error('tracer', 'A tracer failed.', error);
      return instead;
    }
  };
  const begin = <End>(make: () => SseSpan<End>): SseSpan<End> => {
    const span = quietly(make, NO_SPAN);
    return {
      within: (call) => {
        let made: ReturnType<typeof call> | undefined;
        const once = () => (made ??= call());
        return quietly(() => span.within(once), undefined) ?? once();
      },
      end: (end) => quietly(() => span.end(end), undefined),
    };
  };
  return {
    publish: (topic) => begin(() => tracer.publish(topic)),
    resume: () => begin(() => tracer.resume()),
    run: (run) => begin(() => tracer.run(run)),
  };
}
