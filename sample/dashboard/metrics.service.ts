import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import type { Request } from 'express';
import { defineTopic, SseService } from 'nestjs-event-stream';
import { exhaustMap, interval, type Subscription } from 'rxjs';
import { instance, type Numbered, Numbering } from '../instance.js';

/** What a process says of itself. */
export interface Sample extends Numbered {
  /** Which process it is, where there are several. */
  instance?: string;
  /** When it was measured, in milliseconds since 1970. */
  at: number;
  /** By how much timers were late, 99 of 100 of them at most, in milliseconds. */
  loopDelay: number;
  /** Of the whole process, in MB. */
  memory: number;
  connections: number;
  /** What waits in this process for clients that do not read, in KB. */
  waiting: number;
  /** Published a second, on all topics, by all instances. */
  events: number;
  /** What compression has saved since the process started, in KB. */
  saved: number;
}

/** The compiler knows what goes through it, where it is published and where it is followed. */
export const metrics = defineTopic<{ sample: Sample }>('metrics.*');

const INTERVAL_MS = 500;
const RESOLUTION_MS = 10;
const AGAIN_MS = 1_000;

/** Measures this process twice a second, and publishes it. */
@Injectable()
export class MetricsService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(MetricsService.name);
  private readonly loopDelay = monitorEventLoopDelay({
    resolution: RESOLUTION_MS,
  });
  private readonly numbering = new Numbering();
  private publishing?: Subscription;
  private counting?: Subscription;
  private published = 0;
  private measuredAt = performance.now();

  constructor(private readonly sse: SseService) {}

  // #region publish
  onApplicationBootstrap(): void {
    this.loopDelay.enable();
    this.counting = this.sse.events('>').subscribe(() => (this.published += 1));
    this.publishing = interval(INTERVAL_MS)
      .pipe(exhaustMap(() => this.publish()))
      .subscribe();
  }

  // Before the streams end: what is published later would be refused.
  onModuleDestroy(): void {
    this.publishing?.unsubscribe();
    this.counting?.unsubscribe();
    this.loopDelay.disable();
  }

  private async publish(): Promise<void> {
    try {
      await this.sse.publish(metrics.of(instance ?? 'process'), {
        type: 'sample',
        data: this.measure(),
      });
    } catch (error) {
      const { message } = error as Error;
      this.logger.error(`A sample was not published: ${message}`);
      this.numbering.startAnew();
      await setTimeout(AGAIN_MS, undefined, { ref: false });
    }
  }
  // #endregion

  private measure(): Sample {
    const now = performance.now();
    const seconds = (now - this.measuredAt) / 1000;
    const { bytes, writtenBytes } = this.sse.metrics.sent;
    const sample = {
      ...this.numbering.next(),
      instance,
      at: Date.now(),
      // It measures the time between two of its timers, which is 10 ms at best.
      loopDelay: Math.max(
        0,
        this.loopDelay.percentile(99) / 1e6 - RESOLUTION_MS,
      ),
      memory: process.memoryUsage.rss() / 1e6,
      connections: this.sse.connections.size,
      waiting: this.waitingBytes() / 1e3,
      events: this.published / seconds,
      saved: (bytes - writtenBytes) / 1e3,
    };
    this.measuredAt = now;
    this.published = 0;
    this.loopDelay.reset();
    return sample;
  }

  private waitingBytes(): number {
    return [...this.sse.connections]
      .map(({ request }) => (request as Request).socket.writableLength)
      .reduce((sum, bytes) => sum + bytes, 0);
  }
}
