import type { EventStreamResponse } from '../connection/index.js';
import type { Span } from '../time/index.js';
import type { Subscription } from './subscription.js';
import type { ResetReason } from './topic.settings.js';
import type { ResumeEnd, TopicTracer } from './topic-tracer.js';

/** A follower, as its trace sees it. */
interface Resuming {
  readonly connection: EventStreamResponse;
  readonly subscriptions: readonly Subscription[];
}

/** The resume of a client, from its call of `follow` until it is live or was reset: one span of a tracer. */
export class ResumeTrace {
  /** Where the last event of the client was found. */
  from: 'ring' | 'log' | undefined;
  /** Events that were replayed. */
  events = 0;
  readonly #span: Span<ResumeEnd>;
  readonly #follower: Resuming;

  private constructor(span: Span<ResumeEnd>, follower: Resuming) {
    this.#span = span;
    this.#follower = follower;
  }

  /** @returns undefined if the client brings no id, or there is no tracer */
  static begin(follower: Resuming, tracer: TopicTracer | undefined): ResumeTrace | undefined {
    if (!tracer || follower.connection.resumeId === undefined) {
      return undefined;
    }
    return new ResumeTrace(tracer.resume(), follower);
  }

  /** Ends the span. The follower calls it once. */
  end(
    outcome: ResumeEnd['outcome'],
    { reason, error }: { reason?: ResetReason; error?: unknown } = {},
  ): void {
    const patterns = this.#follower.subscriptions.flatMap((subscription) => subscription.patterns);
    this.#span.end({ outcome, reason, error, patterns, from: this.from, events: this.events });
  }
}
