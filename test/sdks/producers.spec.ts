import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SseStreamOptions } from 'nestjs-event-stream';
import { ModelServer, textOf } from '../support/model-server.js';
import type { Generation } from '../support/model-server.js';
import { closeAll, open, platforms } from '../support/platforms.js';
import { createAnswerApp } from './answer-app.js';
import type { AnswerApp } from './answer-app.js';
import { sdkProducers } from './sdk-producers.js';

const PATH = 'answer/chat/completions';

/** How far the model is when its answer is ended. */
const waits: { when: string; given: number; give(generation: Generation): void }[] = [
  { when: 'before its first token', given: 0, give: () => undefined },
  { when: 'between two tokens', given: 3, give: (generation) => generation.give(3) },
  { when: 'while its tokens come', given: 3, give: (generation) => generation.giveEvery(1) },
];

interface Asked extends AnswerApp {
  /** Resolves once the client has had so many tokens. */
  received(tokens: number): Promise<unknown>;
  /** The only client leaves. */
  leave(): void;
}

/** What ends an answer before the model does. */
const endings: {
  by: string;
  options?: SseStreamOptions;
  end?(asked: Asked): unknown;
  reason: string;
}[] = [
  { by: 'a client that leaves', end: ({ leave }) => leave(), reason: 'client' },
  { by: 'the app that closes', end: ({ app }) => app.close(), reason: 'shutdown' },
  { by: 'the app that ends it', end: ({ sse }) => sse.connections.close(), reason: 'server' },
  { by: 'maxConnectionMs', options: { maxConnectionMs: 100 }, reason: 'expired' },
];

// The platform is of no matter to a producer: both come up.
const rows = sdkProducers.map((producer, index) => ({ producer, platform: platforms[index % 2]! }));

describe.each(rows)('$producer.name as a source, on $platform.name', ({ producer, platform }) => {
  const { format } = producer;
  let model: ModelServer;

  beforeEach(async () => {
    model = await ModelServer.start();
  });
  afterEach(async () => {
    await closeAll();
    await model.stop();
  });

  async function ask(options: SseStreamOptions = {}) {
    const context = await createAnswerApp(platform, producer.source(model), { format, ...options });
    const abort = new AbortController();
    const opened = open(context.app, PATH, { body: {}, signal: abort.signal });
    // It rejects where the client leaves before there is an answer.
    opened.catch(() => undefined);
    return {
      ...context,
      opened,
      received: async (tokens: number) =>
        (await opened).until(({ raw }) => raw.includes(`"word ${tokens} "`)),
      leave: () => abort.abort(),
    };
  }

  it('brings the whole answer', async () => {
    const asked = await ask();
    const generation = await model.generation();
    generation.give(100);
    generation.finish();

    const text = (await (await asked.opened).body()).matchAll(/"(word \d+ )"/g);
    expect(Array.from(text, ([, word]) => word).join('')).toBe(textOf(100));
    expect(await asked.end()).toMatchObject({ reason: 'done' });
  });

  describe.each(waits)('$when', ({ given, give }) => {
    it.each(endings)('is closed by $by', async ({ options, end, reason }) => {
      const asked = await ask(options);
      const generation = await model.generation();
      give(generation);
      // A limit comes when it comes.
      if (end) {
        if (given > 0) await asked.received(given);
        await end(asked);
      }

      await generation.closed();
      const { tokens } = generation;
      expect(await asked.end()).toMatchObject({ reason });
      generation.give();
      expect(generation.tokens).toBe(tokens);
      expect(model.requests).toBe(1);
      await asked.nothingLeft();
    });
  });
});
