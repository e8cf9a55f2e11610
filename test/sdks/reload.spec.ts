import { afterEach, describe, expect, it } from '@jest/globals';
import type { RunSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { NEVER } from 'rxjs';
import { Gate } from '../support/gate.js';
import { baseOf, closeAll, open, platforms } from '../support/apps/platforms.js';
import type { Platform } from '../support/apps/platforms.js';
import { createAnswerApp, RUN } from './answer-app.js';
import { sdkClients } from './sdk-clients.js';
import type { SdkClient } from './sdk-clients.js';
import { Tab } from './tab.js';

const BEGINNING = ['Because', ' of'];
const LAST = BEGINNING.at(-1)!;
const REST = [' Rayleigh\n\n', ' 🙂 scattering'];
const WHOLE = [...BEGINNING, ...REST].join('');

// The platform is of no matter to what is recorded: both come up.
const rows = sdkClients.map((client, index) => ({ client, platform: platforms[index % 2]! }));

/** An app whose answer stops after its beginning, until it is told to go on. */
async function startApp({ client, platform }: { client: SdkClient; platform: Platform }) {
  const rest = new Gate();
  let calls = 0;
  const source: RunSource = async function* () {
    calls += 1;
    yield* [...client.first, ...BEGINNING.map(client.delta)];
    await rest.opened;
    yield* [...REST.map(client.delta), ...client.last, ...(client.end ? [client.end] : [])];
  };
  const context = await createAnswerApp(platform, source, { format: client.format, run: {} });
  return {
    ...context,
    tab: (lastEventId?: string) => new Tab(client, baseOf(context.app), lastEventId),
    goOn: rest.open,
    calls: () => calls,
  };
}

afterEach(closeAll);

describe.each(rows)('$client.name, reading a run on $platform.name', (row) => {
  it('gets the whole answer after a reload in the middle', async () => {
    const context = await startApp(row);
    const before = context.tab();
    await before.ask(LAST);
    before.leave();
    await before.answer;
    await waitFor(() => context.sse.connections.size === 0);
    const after = context.tab();
    await after.askAgain(LAST);
    context.goOn();

    expect(await after.answer).toEqual({ text: WHOLE });
    expect(after.recording.ids.slice(0, before.recording.ids.length)).toEqual(before.recording.ids);
    expect(context.calls()).toBe(1);
    expect(await context.end()).toMatchObject({ reason: 'done' });
    await context.nothingLeft();
  });

  it('gets one answer in two tabs', async () => {
    const context = await startApp(row);
    const tabs = [context.tab(), context.tab()];
    await tabs[0]!.ask(LAST);
    await tabs[1]!.askAgain(LAST);
    context.goOn();

    const answers = await Promise.all(tabs.map(({ answer }) => answer));
    expect(answers).toEqual([{ text: WHOLE }, { text: WHOLE }]);
    expect(tabs[1]!.recording.text).toBe(tabs[0]!.recording.text);
    expect(context.calls()).toBe(1);
  });

  it('gets a new answer where it asks after the end', async () => {
    const context = await startApp(row);
    context.goOn();
    const turns = [context.tab(), context.tab()];
    for (const turn of turns) {
      await turn.ask(LAST);
      expect(await turn.answer).toEqual({ text: WHOLE });
    }

    const [ids, nextIds] = turns.map(({ recording }) => recording.ids);
    expect(ids!.filter((id) => nextIds!.includes(id))).toEqual([]);
    expect(context.calls()).toBe(2);
  });

  it('can be given the rest after any event', async () => {
    const context = await startApp(row);
    const whole = context.tab();
    await whole.ask(LAST);
    const { ids } = whole.recording;
    const opening = Promise.all(
      ids.map((lastEventId) => open(context.app, `answer/json/${RUN}/stream`, { lastEventId })),
    );
    await waitFor(() => context.sse.connections.size === ids.length + 1);
    context.goOn();
    const streams = await opening;
    await whole.answer;

    for (const [index, stream] of streams.entries()) {
      await stream.body();
      expect(stream.events.map(({ id }) => id)).toEqual(whole.recording.ids.slice(index + 1));
      expect(whole.recording.text.endsWith(stream.raw.slice('retry: 3000\n'.length))).toBe(true);
    }
    expect(ids).toHaveLength(row.client.first.length + BEGINNING.length);
  });
});

it('is answered at once where it comes back and has all so far, since no status could tell it anything', async () => {
  const { app, tab, sse } = await startApp(rows.at(-1)!);
  const whole = tab();
  await whole.ask(LAST);
  await sse.runs.start('silent', () => NEVER);
  const held = open(app, 'answer/json/silent/stream').then(() => 'the headers that wait for an event');
  await waitFor(() => sse.connections.size === 2);
  const lastEventId = whole.recording.ids.at(-1);
  const resumed = open(app, `answer/json/${RUN}/stream`, { lastEventId }).then(() => 'those that do not');

  expect(await Promise.race([held, resumed])).toBe('those that do not');
  await app.close();
  await held;
});

describe.each(rows.filter(({ client }) => client.takesRest))('$client.name, coming back', (row) => {
  it('takes up an answer where its Last-Event-ID says', async () => {
    const context = await startApp(row);
    const before = context.tab();
    await before.ask(LAST);
    before.leave();
    const { text } = await before.answer;
    const after = context.tab(before.recording.ids.at(-1));
    context.goOn();
    await after.askAgain(REST.at(-1)!);

    expect(text).toBe(BEGINNING.join(''));
    expect(await after.answer).toEqual({ text: REST.join('') });
    expect(context.calls()).toBe(1);
  });
});
