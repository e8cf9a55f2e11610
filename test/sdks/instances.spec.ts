import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunSource } from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { Gate } from '../support/gate.js';
import { ModelServer } from '../support/servers/model-server.js';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { createAnswerApp, RUN } from './answer-app.js';
import type { AnswerOptions } from './answer-app.js';
import { sdkClients } from './sdk-clients.js';
import { sdkProducers } from './sdk-producers.js';
import { Tab } from './tab.js';

const PATH = 'answer/json';

let server: RedisServer;
let log: string;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
afterEach(closeAll);
beforeEach(() => {
  log = `log-${Math.random()}`;
});

/** Two instances on one Redis, on a platform each. */
function createInstances(source: RunSource, options: AnswerOptions) {
  const modules = { log: redis({ url: server.url, log }) };
  return Promise.all(
    [platforms[0]!, platforms[1]!].map((platform) => createAnswerApp(platform, source, options, modules)),
  );
}

describe.each(sdkProducers)('$name as a source, of a run with two instances', ({ source, format }) => {
  let model: ModelServer;

  beforeEach(async () => {
    model = await ModelServer.start();
  });
  afterEach(() => model.stop());

  async function startRun(run: AnswerOptions['run']) {
    const [here, there] = await createInstances(source(model), { format, run });
    const asked = open(here!.app, PATH, { body: {} });
    // Its app may be closed before there is an answer.
    asked.catch(() => undefined);
    const generation = await model.generation();
    return { here: here!, there: there!, asked, generation };
  }

  it.each([
    { when: 'before its first token', tokens: 0 },
    { when: 'between two tokens', tokens: 3 },
  ])('is closed $when where the other instance stops it', async ({ tokens }) => {
    const { here, there, generation } = await startRun({});
    generation.give(tokens);

    expect(await there.sse.runs.stop(RUN)).toBe(true);

    await generation.closed();
    expect(await here.end()).toMatchObject({ reason: 'stop' });
    expect(model.requests).toBe(1);
  });

  it('goes on for the clients of the other instance, and is closed when they leave', async () => {
    const { here, there, asked, generation } = await startRun({ onDisconnect: 'abort' });
    generation.give(3);
    const other = await open(there.app, `${PATH}/${RUN}/stream`);
    await other.until(({ raw }) => raw.includes('"word 3 "'));
    generation.give();
    const first = await (await asked).until(({ raw }) => raw.includes('"word 4 "'));
    await first.close();
    await waitFor(() => here.sse.connections.size === 0);
    generation.give();
    await other.until(({ raw }) => raw.includes('"word 5 "'));
    expect(generation.closedAt).toBeUndefined();

    await other.close();

    await generation.closed();
    expect(await here.end()).toMatchObject({ reason: 'client' });
  });

  it('is closed with its instance, and the clients of the other are told', async () => {
    const { here, there, generation } = await startRun({});
    generation.give(3);
    const other = await open(there.app, `${PATH}/${RUN}/stream`);
    await other.until(({ raw }) => raw.includes('"word 3 "'));

    await here.app.close();

    await generation.closed();
    expect(await other.body()).toContain('The server is closing.');
  });
});

it('a run that any instance has stopped can be started anew by any, without a pause', async () => {
  const signals: AbortSignal[] = [];
  const source: RunSource = async function* ({ signal }) {
    signals.push(signal);
    yield 'Because';
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  const instances = await createInstances(source, { run: {} });
  await instances[0]!.sse.runs.start(RUN, source);
  for (const turn of Array(12).keys()) {
    const [stops, starts] = [instances[turn % 2]!.sse.runs, instances[Math.floor(turn / 2) % 2]!.sse.runs];
    await waitFor(() => signals.length === turn + 1, { timeoutMs: 15_000 });
    expect(await stops.stop(RUN)).toBe(true);
    expect(await starts.start(RUN, source)).toEqual({ started: true });
    expect(signals[turn]!.aborted).toBe(true);
  }
});

describe.each(sdkClients)('$name, reading a run with two instances', (client) => {
  it('gets the whole answer after a reload that comes to the other', async () => {
    const rest = new Gate();
    let calls = 0;
    const source: RunSource = async function* () {
      calls += 1;
      yield* [...client.first, client.delta('Because')];
      await rest.opened;
      yield* [client.delta(' of'), ...client.last, ...(client.end ? [client.end] : [])];
    };
    const [here, there] = await createInstances(source, { format: client.format, run: {} });
    const before = new Tab(client, baseOf(here!.app));
    await before.ask('Because');
    before.leave();
    await before.answer;
    const after = new Tab(client, baseOf(there!.app));
    await after.askAgain('Because');
    rest.open();

    expect(await after.answer).toEqual({ text: 'Because of' });
    expect(after.recording.ids.slice(0, before.recording.ids.length)).toEqual(before.recording.ids);
    expect(calls).toBe(1);
    expect(await here!.end()).toMatchObject({ reason: 'done' });
  });

  it('is told of a stop by the other', async () => {
    const source: RunSource = async function* ({ signal }) {
      yield* [...client.first, client.delta('Because')];
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    const [here, there] = await createInstances(source, { format: client.format, run: {} });
    const tab = new Tab(client, baseOf(here!.app));
    await tab.ask('Because');

    const stopped = await fetch(`${baseOf(there!.app)}/answer/${RUN}`, { method: 'DELETE' });

    expect(stopped.status).toBe(200);
    const { text, error } = await tab.answer;
    expect(text).toBe('Because');
    expect(error !== undefined).toBe(client.failsOnAbort);
    expect(tab.recording.text).toMatch(/abort|stopped/);
    expect(await here!.end()).toMatchObject({ reason: 'stop' });
  });

  it('has the next question answered by the other, at once after that has stopped the one before', async () => {
    let calls = 0;
    const source: RunSource = async function* ({ signal }) {
      calls += 1;
      yield* [...client.first, client.delta(`Answer ${calls}`)];
      if (calls === 1) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      }
      yield* [...client.last, ...(client.end ? [client.end] : [])];
    };
    const [here, there] = await createInstances(source, { format: client.format, run: {} });
    const tabs = [new Tab(client, baseOf(here!.app)), new Tab(client, baseOf(there!.app))];
    await tabs[0]!.ask('Answer 1');
    await there!.sse.runs.stop(RUN);
    await tabs[1]!.ask('Answer 2');

    expect(await tabs[1]!.answer).toEqual({ text: 'Answer 2' });
    expect((await tabs[0]!.answer).text).toBe('Answer 1');
    expect(await here!.end()).toMatchObject({ reason: 'stop' });
    expect(await there!.end()).toMatchObject({ reason: 'done' });
  });
});
