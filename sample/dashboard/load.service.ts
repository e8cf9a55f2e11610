import { setTimeout } from 'node:timers/promises';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import {
  defineTopic,
  type SseConnection,
  SseService,
} from 'nestjs-event-stream';
import { exhaustMap, interval, type Subscription } from 'rxjs';
import { type Numbered, Numbering } from '../instance.js';

/** An event that weighs something. */
export interface Parcel extends Numbered {
  ballast: string;
}

export const parcels = defineTopic<{ parcel: Parcel }>('parcels').of();

const INTERVAL_MS = 5;
const AGAIN_MS = 1_000;
// Between this process and a page lie buffers of some megabytes. They have to
// be full before a client that does not read is a slow one to the server.
const BALLAST = '.'.repeat(8_192);

/**
 * Publishes parcels, 200 a second, for as long as anybody follows them here.
 * Of several instances each that serves such a client publishes its own; every
 * client gets those of all.
 */
@Injectable()
export class LoadService implements OnModuleDestroy {
  private readonly logger = new Logger(LoadService.name);
  private readonly numbering = new Numbering();
  private publishing?: Subscription;
  private followers = 0;

  constructor(private readonly sse: SseService) {}

  runFor(connection: SseConnection): void {
    this.followers += 1;
    this.publishing ??= interval(INTERVAL_MS)
      .pipe(exhaustMap(() => this.publish()))
      .subscribe();
    void connection.closed.then(() => {
      this.followers -= 1;
      if (this.followers === 0) {
        this.stop();
      }
    });
  }

  onModuleDestroy(): void {
    this.stop();
  }

  private stop(): void {
    this.publishing?.unsubscribe();
    this.publishing = undefined;
  }

  private async publish(): Promise<void> {
    try {
      await this.sse.publish(parcels, {
        type: 'parcel',
        data: { ...this.numbering.next(), ballast: BALLAST },
      });
    } catch (error) {
      const { message } = error as Error;
      this.logger.error(`A parcel was not published: ${message}`);
      this.numbering.startAnew();
      await setTimeout(AGAIN_MS, undefined, { ref: false });
    }
  }
}
