import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { defineTopic, SseService } from 'nestjs-event-stream';
import { instance } from '../instance.js';

/** What a process counts of an answer. Several may: one that makes it, others that send it. */
export interface Counts {
  answer: string;
  /** Of the process that counts. */
  process: number;
  instance?: string;
  /** Tokens that the model has made there. */
  made: number;
  /** Tokens that were written to clients, those of each. */
  sent: number;
  /** How the model fares, and since when, in milliseconds since 1970. */
  model?: { state: ModelState; at: number };
}

export type ModelState = 'running' | 'finished' | 'failed' | 'aborted';

interface Answer {
  counts: Counts;
  /** Of a run, and why: `done`, `stop`, `orphan`, … */
  end: { answer: string; reason: string };
}

type AnswerEvent = {
  [Type in keyof Answer]: { type: Type; data: Answer[Type] };
}[keyof Answer];

/** Each answer has a topic for its counts. */
export const answers = defineTopic<Answer>('answers.*');

const INTERVAL_MS = 50;
const KEPT = 500;

/** Counts what is made and what is sent, and publishes it. Your own app needs none of it. */
@Injectable()
export class CountsService implements OnModuleDestroy {
  private readonly logger = new Logger(CountsService.name);
  private readonly tallies = new Map<string, Tally>();
  private isClosing = false;

  constructor(private readonly sse: SseService) {
    // Here an app of your own saves the answer: items(), under the key.
    sse.runs.onEnd(({ id, reason, events }) => {
      this.logger.log(`run ${id}: made ${events}, ended: ${reason}`);
      return this.publish({ type: 'end', data: { answer: id, reason } });
    });
  }

  onModuleDestroy(): void {
    this.isClosing = true;
    for (const tally of this.tallies.values()) {
      tally.close();
    }
  }

  of(answer: string): Tally {
    let tally = this.tallies.get(answer);
    if (!tally) {
      tally = new Tally(
        answer,
        (counts) => void this.publish({ type: 'counts', data: counts }),
      );
      this.tallies.set(answer, tally);
      const [oldest] = this.tallies.keys();
      if (this.tallies.size > KEPT) {
        this.tallies.delete(oldest);
      }
    }
    return tally;
  }

  private async publish(event: AnswerEvent): Promise<void> {
    if (this.isClosing) {
      return;
    }
    try {
      await this.sse.publish(answers.of(event.data.answer), event);
    } catch (error) {
      // The next one has all that this one had.
      const { message } = error as Error;
      this.logger.error(`Counts were not published: ${message}`);
    }
  }
}

/** The counts of one answer in this process. */
export class Tally {
  private readonly counts: Counts;
  private timer?: NodeJS.Timeout;

  constructor(
    answer: string,
    private readonly publish: (counts: Counts) => void,
  ) {
    const { pid } = process;
    this.counts = { answer, process: pid, instance, made: 0, sent: 0 };
  }

  made(): void {
    this.counts.made += 1;
    this.publishSoon();
  }

  sent(tokens: number): void {
    this.counts.sent += tokens;
    this.publishSoon();
  }

  modelIs(state: ModelState): void {
    this.counts.model = { state, at: Date.now() };
    this.publishSoon();
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private publishSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.publish({ ...this.counts });
    }, INTERVAL_MS).unref();
  }
}
