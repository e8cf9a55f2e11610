import { waitFor } from 'nestjs-event-stream/testing';
import type { LogHead, LogListener, LogRecord, LossReason } from '../../../lib/log/index.js';

/** A listener that keeps all that it has received. */
export class Ear implements LogListener {
  readonly heard: LogRecord[] = [];
  readonly resets: LogHead[] = [];
  readonly reasons: LossReason[] = [];
  calls = 0;

  onRecords(list: readonly LogRecord[]): void {
    this.calls += 1;
    this.heard.push(...list);
  }

  onReset(head: LogHead, reason: LossReason): void {
    this.resets.push(head);
    this.reasons.push(reason);
  }

  until(sequence: number): Promise<boolean> {
    return waitFor(() => (this.heard.at(-1)?.sequence ?? 0) >= sequence, {
      timeoutMs: 15_000,
      describe: () => `record ${sequence}, after ${this.heard.length} up to ${this.heard.at(-1)?.sequence}`,
    });
  }
}
