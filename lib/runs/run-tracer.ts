import type { Span } from '../time/index.js';
import type { Produced } from './producer/index.js';
import type { RunEndReason } from './record/index.js';

/** How the producer of a run ended. */
export interface RunSpanEnd {
  /** `handed-over`: the app is closing, and another instance may go on. `lost`: the end could not be recorded here. */
  readonly reason: RunEndReason | 'handed-over' | 'lost';
  /** Events of the answer and the UTF-8 bytes of their data; undefined if no end was recorded here. */
  readonly events?: number | undefined;
  readonly bytes?: number | undefined;
  /** The error of the source, or why the end was not recorded. */
  readonly error?: unknown;
}

/** Makes spans of runs. */
export interface RunTracer {
  /** Called when a run begins to be produced here, in the async context of `runs.start`. Its source runs within. */
  run(run: { readonly id: string; readonly format: string | undefined }): Span<RunSpanEnd>;
}

/** Produces a run within a span, which ends with the producer. `produce` never rejects. */
export async function producedWithin(
  span: Span<RunSpanEnd>,
  produce: () => Promise<Produced>,
): Promise<Produced> {
  const produced = await span.within(produce);
  const { ending, error } = produced;
  span.end({
    reason: ending?.reason ?? (error === undefined ? 'handed-over' : 'lost'),
    events: ending?.events,
    bytes: ending?.bytes,
    error,
  });
  return produced;
}
