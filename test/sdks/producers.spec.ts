import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { ModelServer, textOf } from '../support/servers/model-server.js';
import type { Generation } from '../support/servers/model-server.js';
import { closeAll, open, platforms } from '../support/apps/platforms.js';
import { createAnswerApp, RUN } from './answer-app.js';
import type { AnswerApp, AnswerOptions } from './answer-app.js';
import { sdkProducers } from './sdk-producers.js';

const PATH = 'answer/chat/completions';
const SECRET = 'Incorrect API key provided: sk-1234.';

/** How far the model is when its answer is ended. */
const waits: { when: string; given: number; give(generation: Generation): void }[] = [
  { when: 'before its first token', given: 0, give: () => undefined },
  { when: 'between two tokens', given: 3, give: (generation) => generation.give(3) },
  { when: 'while its tokens come', given: 3, give: (generation) => generation.giveEvery(1) },
];

interface Asked extends AnswerApp {
  readonly model: ModelServer;
  readonly generation: Generation;
  /** Resolves once the client has had so many tokens. */
  received(tokens: number): Promise<unknown>;
  /** The only client leaves. */
  leave(): void;
}

/** What ends an answer before the model does. */
const endings: { by: string; options: AnswerOptions; end(asked: Asked): unknown; reason: string }[] = [
  { by: 'the client of a stream that leaves', options: {}, end: ({ leave }) => leave(), reason: 'client' },
  { by: 'an app that closes a stream', options: {}, end: ({ app }) => app.close(), reason: 'shutdown' },
  {
    by: 'an app that ends a stream',
    options: {},
    end: ({ sse }) => sse.connections.close(),
    reason: 'server',
  },
  {
    by: 'the last client of a run that leaves',
    options: { run: { onDisconnect: 'abort' } },
    end: ({ leave }) => leave(),
    reason: 'client',
  },
  { by: 'stop() of a run', options: { run: {} }, end: ({ sse }) => sse.runs.stop(RUN), reason: 'stop' },
  { by: 'an app that closes a run', options: { run: {} }, end: ({ app }) => app.close(), reason: 'shutdown' },
  {
    by: 'the maxEvents of a run',
    options: { run: { maxEvents: 20 } },
    end: ({ generation }) => generation.give(100),
    reason: 'error',
  },
  {
    by: 'the maxBytes of a run',
    options: { run: { maxBytes: 2_000 } },
    end: ({ generation }) => generation.give(100),
    reason: 'error',
  },
];

/** What ends it in time. */
const limits: {
  limit: string;
  optionsOf(ms: number): AnswerOptions;
  begin?(asked: Asked): void;
  reason: string;
}[] = [
  {
    limit: 'maxConnectionMs',
    optionsOf: (maxConnectionMs) => ({ connection: { maxConnectionMs } }),
    reason: 'expired',
  },
  { limit: 'timeoutMs', optionsOf: (timeoutMs) => ({ run: { timeoutMs } }), reason: 'timeout' },
  { limit: 'idleMs', optionsOf: (idleMs) => ({ run: { idleMs } }), reason: 'timeout' },
  {
    limit: 'orphanMs',
    optionsOf: (orphanMs) => ({ run: { orphanMs } }),
    begin: ({ leave }) => leave(),
    reason: 'orphan',
  },
];

// The platform is of no matter to a producer: both come up.
const rows = sdkProducers.map((producer, index) => ({ producer, platform: platforms[index % 2]! }));

describe.each(rows)('$producer.name as a source, on $platform.name', ({ producer, platform }) => {
  const { format } = producer;
  const models = new Set<ModelServer>();

  afterEach(async () => {
    await closeAll();
    await Promise.all(Array.from(models, (model) => model.stop()));
    models.clear();
  });

  async function startModel() {
    const model = await ModelServer.start();
    models.add(model);
    return model;
  }

  async function startApp(options: AnswerOptions) {
    const model = await startModel();
    const context = await createAnswerApp(platform, producer.source(model), { format, ...options });
    return { ...context, model };
  }

  async function ask(options: AnswerOptions) {
    const context = await startApp(options);
    const abort = new AbortController();
    const opened = open(context.app, PATH, { body: {}, signal: abort.signal });
    // It rejects where the client leaves before there is an answer.
    opened.catch(() => undefined);
    await waitFor(() => context.model.generations.length > 0 || context.controller.ends.length > 0, {
      timeoutMs: 15_000,
    });
    return {
      ...context,
      opened,
      generation: context.model.generations[0]!,
      received: async (tokens: number) =>
        (await opened).until(({ raw }) => raw.includes(`"word ${tokens} "`)),
      leave: () => abort.abort(),
    };
  }

  /** Asks under a limit that leaves the time to ask the model, on however busy a machine. */
  async function askWithin(optionsOf: (ms: number) => AnswerOptions): Promise<Asked> {
    for (let ms = 300; ; ms *= 2) {
      const asked = await ask(optionsOf(ms));
      if (asked.model.generations.length > 0) {
        return asked;
      }
    }
  }

  /** That the provider's request is closed, and nothing comes after. */
  async function closes({ model, generation, end, nothingLeft }: Asked) {
    await generation.closed();
    const { tokens } = generation;
    const { reason } = await end();
    generation.give();
    expect(generation.tokens).toBe(tokens);
    expect(model.requests).toBe(1);
    await nothingLeft();
    return reason;
  }

  it.each([{ options: {} }, { options: { run: {} } }])('brings the whole answer, %j', async ({ options }) => {
    const { generation, opened, end } = await ask(options);
    generation.give(100);
    generation.finish();

    const words = (await (await opened).body()).matchAll(/"(word \d+ )"/g);
    expect(Array.from(words, ([, word]) => word).join('')).toBe(textOf(100));
    expect(await end()).toMatchObject({ reason: 'done' });
  });

  it('goes on where the clients of a run leave', async () => {
    const { generation, received, leave, sse, end } = await ask({ run: {} });
    generation.give(3);
    await received(3);
    leave();
    await waitFor(() => sse.connections.size === 0);
    generation.give(97);
    generation.finish();

    const { reason, events } = await end();
    expect(reason).toBe('done');
    expect(events).toBeGreaterThan(100);
    expect(generation.closedAt).toBeUndefined();
  });

  describe.each(waits)('$when', ({ given, give }) => {
    it.each(endings)('is closed by $by', async ({ options, end, reason }) => {
      const asked = await ask(options);
      give(asked.generation);
      if (given > 0) {
        await asked.received(given);
      }
      await end(asked);

      expect(await closes(asked)).toBe(reason);
    });
  });

  it('is closed by each limit in time', async () => {
    const reasons = await Promise.all(
      waits.flatMap(({ when, give }) =>
        limits.map(async ({ limit, optionsOf, begin }) => {
          const asked = await askWithin(optionsOf);
          // While tokens come, idleMs does not.
          if (when !== 'while its tokens come' || limit !== 'idleMs') {
            give(asked.generation);
          }
          begin?.(asked);
          return { limit, reason: await closes(asked) };
        }),
      ),
    );

    expect(reasons).toEqual(waits.flatMap(() => limits.map(({ limit, reason }) => ({ limit, reason }))));
  });

  it.each([401, 429])('has the status of a run’s POST be %d where the provider says so', async (status) => {
    const { app, model, errors, end, nothingLeft } = await startApp({ run: {} });
    model.refusal = { status, message: SECRET };

    const answer = await open(app, PATH, { body: {} });

    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/json\b/);
    expect(await answer.body()).not.toContain(SECRET);
    expect(await end()).toMatchObject({ reason: 'error', events: 0, error: { status } });
    expect(errors.join()).toContain(SECRET);
    expect(model.requests).toBe(1);
    await nothingLeft();
  });

  it.each([
    { how: 'with words', failed: (generation: Generation) => generation.fail(SECRET) },
    { how: 'by a broken connection', failed: (generation: Generation) => generation.cut() },
  ])('tells the clients of a run that the provider has failed $how', async ({ failed }) => {
    const { generation, opened, received, end, nothingLeft } = await ask({ run: {} });
    generation.give(3);
    await received(3);
    failed(generation);

    const text = await (await opened).body();
    expect(text).toContain('Internal server error');
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain('[DONE]');
    expect(await end()).toMatchObject({ reason: 'error' });
    await nothingLeft();
  });
});
