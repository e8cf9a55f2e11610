import {
  Injectable,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import type { Request } from 'express';
import { defineTopic, SseService } from 'nestjs-event-stream';
import type { Subscription } from 'rxjs';
import { instance } from '../instance.js';

interface Commands {
  /** Ends a process as a crash does. */
  kill: { instance: string };
  /** Resets a page's connections, and every attempt to come back, for ten seconds. */
  outage: { client: string };
  /** Cuts a page's connections. */
  drop: { client: string };
}

/** What pages ask for. A proxy hands a request to any instance: each of them receives it here. */
export const commands = defineTopic<Commands>('commands').of();

const OUTAGE_MS = 10_000;
// The process that ends may be the one that has to answer the request first.
const ANSWER_MS = 300;

/** Does what a page asks for, where it concerns this process. Your own app needs none of it. */
@Injectable()
export class CommandsService
  implements OnApplicationBootstrap, OnModuleDestroy
{
  /** Clients whose network is down. */
  readonly cutOff = new Set<string>();
  /** Requests that are answered without this package. Their network can be dropped as well. */
  readonly others = new Set<Request>();
  private following?: Subscription;

  constructor(private readonly sse: SseService) {}

  onApplicationBootstrap(): void {
    this.following = this.sse.events(commands).subscribe(({ event }) => {
      if (event.type === 'kill') {
        this.kill(event.data.instance);
      } else if (event.type === 'outage') {
        this.cutOffFor(event.data.client);
      } else {
        this.drop(event.data.client);
      }
    });
  }

  onModuleDestroy(): void {
    this.following?.unsubscribe();
  }

  private kill(name: string): void {
    // An instance that runs alone would not be started again.
    if (instance === undefined || name !== instance) {
      return;
    }
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), ANSWER_MS);
  }

  private cutOffFor(client: string): void {
    this.cutOff.add(client);
    // The app does not wait for it to end.
    setTimeout(() => this.cutOff.delete(client), OUTAGE_MS).unref();

    for (const { request, data } of this.sse.connections) {
      if (data === client) {
        (request as Request).socket.resetAndDestroy();
      }
    }
  }

  /** To end them properly, it would be `this.sse.connections.close(…)`. */
  private drop(client: string): void {
    const streams = [...this.sse.connections].map(
      ({ request }) => request as Request,
    );
    for (const { query, socket } of [...streams, ...this.others]) {
      if (query.client === client) {
        socket.destroy();
      }
    }
  }
}
