import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import {
  defineTopic,
  type SseConnection,
  SseService,
} from 'nestjs-event-stream';

/** An event that weighs something. */
export interface Parcel {
  /** 1, 2, 3 …: a client can tell that it has them all. */
  n: number;
  ballast: string;
}

export const parcels = defineTopic<{ parcel: Parcel }>('parcels').of();

const INTERVAL_MS = 5;
// Between this process and a page lie buffers of some megabytes. They have to
// be full before a client that does not read is a slow one to the server.
const BALLAST = '.'.repeat(4_096);

/** Publishes parcels, 200 a second, for as long as anybody follows them. */
@Injectable()
export class LoadService implements OnModuleDestroy {
  private readonly logger = new Logger(LoadService.name);
  private timer?: NodeJS.Timeout;
  private followers = 0;
  private n = 0;

  constructor(private readonly sse: SseService) {}

  runFor(connection: SseConnection): void {
    this.followers += 1;
    this.timer ??= setInterval(() => void this.publish(), INTERVAL_MS);
    void connection.closed.then(() => {
      this.followers -= 1;
      if (this.followers === 0) this.stop();
    });
  }

  onModuleDestroy(): void {
    this.stop();
  }

  private stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async publish(): Promise<void> {
    try {
      await this.sse.publish(parcels, {
        type: 'parcel',
        data: { n: (this.n += 1), ballast: BALLAST },
      });
    } catch (error) {
      this.logger.error('A parcel was not published', error);
    }
  }
}
