import { createServer, get } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { SharedFrames } from '../../../lib/compression/shared-stream.js';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { toPlatform } from '../../../lib/http/index.js';
import type { Follow, FollowOptions, EventStreamResponse } from '../../../lib/connection/index.js';
import { memory } from '../../../lib/engines/memory/index.js';
import { DEFAULT_PRESENCE, Topics } from '../../../lib/topics/index.js';
import { isSecret, passesFilter } from './history.js';
import type { Published } from './history.js';
import type { Wish } from './wish.js';

// Small, so that clients meet the end of the ring and of the log within seconds, on a slow machine too.
export const RING_EVENTS = 600;
// So few that pages are not kept for long: they would hold what the log has trimmed.
const RING_BYTES = 600_000;
export const LOG_EVENTS = 2_000;
/** Above what the log holds, so that a client may meet either end first. */
export const MAX_REPLAY_EVENTS = 3_000;
const MAX_LAG_MS = 3_000;

/** What a state holds: everything of its pattern up to some place. */
export interface State {
  readonly uid: number;
  /** The place that it was asked for. */
  readonly asked: string;
  /** The place that it says it is of, where it says so. */
  readonly own?: string;
}

/** A word to one client alone. */
export interface Note {
  readonly n: number;
  /** Everything up to this sequence has been offered, and comes before the note. */
  readonly offered: number;
}

interface Session {
  readonly response: EventStreamResponse;
  readonly follows: Map<number, Follow>;
  notes: number;
}

/** The rooms under test behind a server of Node, and what the app does there on behalf of its clients. */
export class StressServer {
  /** What was reported to operators: in this test, nothing should be. */
  readonly complaints: string[] = [];
  /** How often connections ended for each reason. */
  readonly ends: Record<string, number> = {};
  /** What clients of shared streams were given: blocks that refer to what they had before, and blocks that do not. */
  readonly blocks = { warm: 0, cold: 0 };
  readonly topics: Topics;
  readonly #stopCounting = this.#countBlocks();
  readonly #registry: ConnectionRegistry;
  readonly #server: Server;
  /** The last connection of each client. */
  readonly #sessions = new Map<number, Session>();

  private constructor() {
    const reporter = {
      warn: (message: string) => {
        // Most clients follow several patterns: the warning is right, and expected.
        if (!message.includes("has compression: 'stream'")) {
          this.complaints.push(message);
        }
      },
      error: (message: string, error: unknown) => this.complaints.push(`${message} ${String(error)}`),
      debug: () => undefined,
    };
    this.topics = new Topics(
      memory({ maxEvents: LOG_EVENTS })(),
      {
        resetEvent: 'reset',
        cursorEvent: 'cursor',
        maxEventBytes: 1_048_576,
        maxReplayEvents: MAX_REPLAY_EVENTS,
        ringEvents: RING_EVENTS,
        ringBytes: RING_BYTES,
        maxPatterns: 100,
        maxLagMs: MAX_LAG_MS,
        presence: DEFAULT_PRESENCE,
        authorize: (topic, { data }) => !isSecret(topic) || (data as { isCleared: boolean }).isCleared,
      },
      reporter,
    );
    this.#registry = new ConnectionRegistry({
      maxConnections: Infinity,
      drain: { delayMs: 0, timeoutMs: 1_000, spreadMs: 0 },
      reporter,
      following: this.topics,
    });
    this.#server = createServer((req, res) => this.#serve(req, res));
  }

  static async start(): Promise<StressServer> {
    const server = new StressServer();
    await server.topics.start();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  get writes(): { direct: number; throughResponse: number } {
    return this.#registry.writeCounts;
  }

  /** What is left of those who were here. */
  get leftovers(): { connections: number; followers: number; deadlines: number } {
    return {
      connections: this.#registry.size,
      followers: this.topics.followers,
      deadlines: this.#registry.wheel.size,
    };
  }

  isOpen(client: number): boolean {
    return this.#sessions.get(client)?.response.isClosed === false;
  }

  /** Sends a client a note. */
  note(client: number): void {
    const session = this.#sessions.get(client);
    if (session && !session.response.isClosed) {
      session.notes += 1;
      session.response.forApp.send({
        type: 'note',
        data: { n: session.notes, offered: this.topics.offered },
      });
    }
  }

  /** How many notes the client's present connection has been sent. */
  notesTo(client: number): number {
    return this.#sessions.get(client)?.notes ?? 0;
  }

  follow(client: number, wish: Wish): void {
    const session = this.#sessions.get(client)!;
    session.follows.set(wish.uid, session.response.forApp.follow(wish.pattern, this.#optionsOf(wish)));
  }

  unfollow(client: number, { uid }: Wish): void {
    const session = this.#sessions.get(client)!;
    session.follows.get(uid)!.unfollow();
    session.follows.delete(uid);
  }

  /** Takes as long as a client that comes back waits for its stream, and for what was published so far. */
  async answer(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      get(this.url, { agent: false }, (res) => res.resume().once('close', resolve)).once('error', reject);
    });
    const { last } = this.topics.tail;
    while (this.topics.offered < last) {
      await turn();
    }
  }

  async stop(): Promise<void> {
    this.#stopCounting();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.topics.close();
  }

  #countBlocks(): () => void {
    const { blocks } = this;
    const { blockFor } = SharedFrames.prototype;
    SharedFrames.prototype.blockFor = function (since) {
      const block = blockFor.call(this, since);
      blocks[block === this.cold ? 'cold' : 'warm'] += 1;
      return block;
    };
    return () => {
      SharedFrames.prototype.blockFor = blockFor;
    };
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    const query = new URL(req.url!, 'http://localhost').searchParams;
    if (!query.has('client')) {
      res.end();
      return;
    }
    const response = this.#registry.admit({
      platform: toPlatform(res),
      settings: {
        heartbeatMs: 1_000,
        retryMs: 3_000,
        maxConnectionMs: undefined,
        maxBufferedBytes: 1_048_576,
        maxBurstBytes: 16_777_216,
        maxEventBytes: 1_048_576,
        expiresAt: undefined,
        revocable: false,
        compression: 'stream',
        hasKeys: false,
      },
      finite: false,
      data: { isCleared: query.has('cleared') },
    });
    response.whenClosed((reason) => (this.ends[reason] = (this.ends[reason] ?? 0) + 1));
    response.commit();
    const client = Number(query.get('client'));
    this.#sessions.set(client, { response, follows: new Map(), notes: 0 });
    for (const wish of JSON.parse(query.get('wishes')!) as Wish[]) {
      this.follow(client, wish);
    }
    // It comes when the client has got what it missed.
    this.note(client);
  }

  #optionsOf({ uid, filter, envelope, latest, snapshot }: Wish): FollowOptions {
    return {
      envelope,
      ...(filter && {
        filter: ({ event }) => passesFilter({ data: event.data as Published['data'] }),
      }),
      ...(latest && { latest: ({ topic }) => topic }),
      ...(snapshot !== 'none' && {
        snapshot: async (asked) => {
          // While it is read, others publish.
          for (let turns = uid % 4; turns > 0; turns -= 1) {
            await turn();
          }
          const own = snapshot === 'own' ? await this.topics.position() : undefined;
          const state: State = { uid, asked, ...(own && { own }) };
          return { type: 'state', data: state, ...(own && { at: own }) };
        },
      }),
    };
  }
}
