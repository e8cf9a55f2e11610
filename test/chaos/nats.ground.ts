import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { startNats } from '../support/servers/nats-server.js';
import type { NatsServer } from '../support/servers/nats-server.js';
import type { Random } from '../support/random.js';
import { INSTANCES, LIMITS } from './topics/chaos.js';
import type { Engine } from './engine.js';
import { AWAY } from './ground.js';
import type { Fault, Ground, Stage } from './ground.js';
import { INSTANCE_FAULTS } from './instance-faults.js';
import { connectionsLeft, loseAnswer, networkFaults } from './network-faults.js';
import { NatsRecorder } from './topics/nats-recorder.js';
import { STREAM } from './topics/nats-tap.js';

const LONG_MS = 2_500;

/** One NATS server with its files, and a network that fails before each instance. */
export class SingleNats implements Ground {
  readonly recorder: NatsRecorder;
  readonly #server: NatsServer;
  readonly #folder: string;
  readonly #proxies: readonly FaultProxy[];
  #copies = 0;

  private constructor(
    server: NatsServer,
    folder: string,
    { recorder, proxies }: { recorder: NatsRecorder; proxies: readonly FaultProxy[] },
  ) {
    this.#server = server;
    this.#folder = folder;
    this.#proxies = proxies;
    this.recorder = recorder;
    // As whatever runs a server does. 2.9.10 panics when a stream is read while it is made (jsMsgGetRequest).
    server.onCrash((log) => {
      process.stderr.write(`NATS has crashed, and is started again: ${/panic: .*/.exec(log)?.[0] ?? log}\n`);
      recorder.tap.life += 1;
      // A failure is that of the test, which waits for the server.
      void server.restart().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
    });
  }

  static async start(): Promise<SingleNats> {
    const folder = await mkdtemp(join(tmpdir(), 'nats-chaos-'));
    const server = await startNats({ arguments: ['-sd', join(folder, 'files')] });
    const recorder = new NatsRecorder([server.port]);
    const { tap } = recorder;
    const starting = Array.from({ length: INSTANCES }, () => FaultProxy.start(server.port, { tap }));
    return new SingleNats(server, folder, { recorder, proxies: await Promise.all(starting) });
  }

  engineOf(slot: number): Engine {
    return { kind: 'nats', ports: [this.#proxies[slot]!.port], replicas: 1, maxEvents: LIMITS.maxEvents };
  }

  leftovers(instances: number): Promise<string[]> {
    return connectionsLeft(this.#proxies, instances > 0 ? 1 : 0);
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await this.#server.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  readonly faults: Readonly<Record<string, Fault>> = {
    ...INSTANCE_FAULTS,
    'NATS is killed, and has kept all': async ({ random }) => {
      await this.#kill();
      await pause(random.between(50, 500));
      await this.#restart();
    },
    'NATS is killed, and has kept nothing': async () => {
      await this.#kill();
      await rm(this.#files, { recursive: true });
      await this.#restart();
    },
    'NATS stands still': async () => {
      this.#server.pause();
      await pause(LONG_MS);
      this.#server.resume();
    },
    'files come back from before': async (stage) => {
      const bringBack = stage.sendAway(AWAY);
      const copy = await this.#keepFiles();
      await stage.settle();
      const lost = stage.random.between(50, 200);
      await stage.untilPublished('acknowledged', lost);
      const bringOthersBack = stage.sendAway(AWAY);
      await this.#kill();
      await this.#restoreFiles(copy);
      // Others stand in the places of those that they had seen.
      await stage.settle();
      await stage.burst(stage.random.between(0, 2) * lost);
      bringBack();
      bringOthersBack();
    },
    'files come back from before the stream was lost': async (stage) => {
      const bringBack = stage.sendAway(AWAY);
      const copy = await this.#keepFiles();
      await stage.settle();
      await this.#deleteStream();
      await stage.settle();
      // What they have missed is in a log that nothing is left of.
      await stage.untilPublished('acknowledged', stage.random.between(20, 200));
      await this.#kill();
      await this.#restoreFiles(copy);
      await stage.settle();
      bringBack();
    },
    'the stream is deleted': async () => {
      await this.#deleteStream();
    },
    'the stream is purged': async () => {
      await this.#alone(async () => {
        // The head of a stream that holds nothing at all has a nonce that no message has.
        await (await this.recorder.manager()).streams.purge(STREAM, { keep: 1 });
      });
    },
    'consumers are deleted': async () => {
      const { consumers } = await this.recorder.manager();
      for await (const { name } of consumers.list(STREAM)) {
        await consumers.delete(STREAM, name).catch(() => undefined);
      }
    },
    'other programs publish what is no event': async ({ random }) => {
      await this.#writeForeign(random);
    },
    'a reply is swallowed': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isPublish, 'cut');
    },
    'a reply is swallowed, and nothing more comes': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isPublish, 'black hole');
    },
    ...networkFaults(() => this.#proxies),
    'the network refuses connections': async () => {
      await this.#alone(() => pause(500));
    },
  };

  get #files(): string {
    return join(this.#folder, 'files');
  }

  /** Does something while no instance reaches the server. */
  async #alone(act: () => Promise<unknown>): Promise<void> {
    this.#proxies.forEach((proxy) => proxy.refuse());
    this.#proxies.forEach((proxy) => proxy.drop());
    // What was on its way is there, or is not.
    await pause(200);
    await this.recorder.look();
    this.recorder.tap.life += 1;
    await act();
    await Promise.all(this.#proxies.map((proxy) => proxy.accept()));
  }

  /**
   * Kills the server. With `CHAOS_KILLS=traffic` it is in the midst of traffic: it acknowledges before it has written,
   * and loses events that clients may have got, and publishers been told of.
   */
  async #kill(): Promise<void> {
    if (process.env.CHAOS_KILLS !== 'traffic') {
      await this.#alone(() => this.#server.kill());
      return;
    }
    await this.recorder.look();
    await this.#server.kill();
    this.recorder.tap.life += 1;
  }

  async #restart(): Promise<void> {
    await this.#server.restart();
  }

  async #deleteStream(): Promise<void> {
    await this.#alone(async () => {
      await (await this.recorder.manager()).streams.delete(STREAM);
    });
  }

  async #keepFiles(): Promise<string> {
    await this.#kill();
    const copy = await this.#copyFiles();
    await this.#restart();
    return copy;
  }

  async #restoreFiles(copy: string): Promise<void> {
    await rm(this.#files, { recursive: true });
    await cp(copy, this.#files, { recursive: true });
    await rm(copy, { recursive: true });
    await this.#restart();
  }

  async #copyFiles(): Promise<string> {
    const copy = join(this.#folder, `copy-${(this.#copies += 1)}`);
    await cp(this.#files, copy, { recursive: true });
    return copy;
  }

  async #writeForeign(random: Random): Promise<void> {
    for (let times = random.between(1, 5); times > 0; times -= 1) {
      const topic = random.pick(['x'.repeat(300), 'caf\u00e9', 'a.%3E']);
      await this.recorder.publishForeign(topic, random.pick(['{"forged":', 'id: 1-1-1\n\ndata: forged', '']));
    }
  }

  #proxyOf({ random }: Pick<Stage, 'random'>): FaultProxy {
    return random.pick(this.#proxies);
  }
}

const isPublish = (request: string) => request.includes('.events.');
