import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createParser } from 'eventsource-parser';
import type { Browser, Locator, Page } from 'playwright-core';
import { speak } from '../../sample/chat/local-model.js';
import { launchChromium } from '../support/clients/chromium.js';
import { ModelServer, textOf } from '../support/servers/model-server.js';
import { ClusterProcess } from './cluster-process.js';
import { DEADLINE_MS, ROOT, SAMPLE, SampleProcess, until } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

type Panel = 'run' | 'usual';
type Count = 'made' | 'sent' | 'here';

/** What the page offers for an answer. */
interface Asked {
  /** '60' takes two seconds. '6000' takes some minutes: it lasts until a slow machine has stopped it. */
  tokens?: '60' | '6000';
  behaviour?: 'answers' | 'fails' | 'refuses';
  /** '60000' is more than a reload takes. */
  orphanMs?: '5000' | '60000';
}

/** What Chromium says of a connection that was cut, and of an answer that is none. */
const CUT = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION/;
/** What the page says of a run that has ended, whatever the reason. */
const ENDED = /^(Complete|Stopped|Failed: |Nothing to resume)/;
const WHOLE = [...speak(60)].join('');
const SCRIPT = join(SAMPLE, 'dist/cluster/main.js');
/** As many as that starts. */
const INSTANCES = 3;

let browser: Browser;
let sample: SampleProcess;
let model: ModelServer;
/** The sample with a model of that server; it starts while the tests of the first one wait for its generator. */
let remote: Promise<SampleProcess>;
/** The sample on three instances, likewise. */
let cluster: Promise<ClusterProcess>;

beforeAll(async () => {
  browser = await launchChromium();
  model = await ModelServer.start();
  sample = await SampleProcess.start();
  remote = SampleProcess.start({ OPENAI_API_KEY: 'none', OPENAI_BASE_URL: model.base });
  cluster = remote.then(() => ClusterProcess.start(process.execPath, [SCRIPT], ROOT));
});

afterAll(async () => {
  await browser?.close();
  await sample?.stop();
  const [ended, cleared] = await Promise.allSettled([remote, cluster]);
  if (ended.status === 'fulfilled') {
    await ended.value?.stop();
  }
  if (cleared.status === 'fulfilled') {
    await cleared.value?.clear();
  }
  await model?.stop();
});

/** The chat's page, and what a test reads of it. */
class ChatPage {
  constructor(readonly page: Page) {}

  async ask({ tokens = '60', behaviour = 'answers', orphanMs = '60000' }: Asked = {}): Promise<void> {
    await this.page.locator('[name=tokens]').selectOption(tokens);
    await this.page.locator('[name=orphanMs]').selectOption(orphanMs);
    // Of a real model there is no choice.
    if (behaviour !== 'answers') {
      await this.page.locator('[name=behaviour]').selectOption(behaviour);
    }
    await this.button('Ask').click();
  }

  /** Asks, and waits until some of the answer has come. */
  async askAndRead(asked?: Asked): Promise<void> {
    await this.ask(asked);
    await until('both have begun', async () => {
      const here = await Promise.all([this.number('run', 'here'), this.number('usual', 'here')]);
      return here.every((count) => count > 5);
    });
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name });
  }

  async status(panel: Panel): Promise<string> {
    return (await this.page.locator(`#${panel} .status`).textContent())!;
  }

  async untilStatus(panel: Panel, status: string | RegExp): Promise<void> {
    await this.page.locator(`#${panel} .status`).filter({ hasText: status }).waitFor();
  }

  async text(panel: Panel): Promise<string> {
    return (await this.page.locator(`#${panel} .answer`).textContent())!;
  }

  async number(panel: Panel, name: Count): Promise<number> {
    return Number(await this.page.locator(`#${panel} [data-shows=${name}]`).textContent());
  }

  async untilNumber(panel: Panel, name: Count, count: number): Promise<void> {
    await until(`${panel} has ${name} ${count}`, async () => (await this.number(panel, name)) === count);
  }

  async untilMore(panel: Panel, name: Count, count: number): Promise<void> {
    await until(
      `${panel} has ${name} more than ${count}`,
      async () => (await this.number(panel, name)) > count,
    );
  }

  async stop(): Promise<void> {
    await this.button('Stop').click();
    await this.untilStatus('run', ENDED);
    expect(await this.status('run')).toBe('Stopped');
  }

  /** Each token once, and in its order. */
  async expectAllThatWasMade(): Promise<void> {
    const here = await this.number('run', 'here');
    await this.untilNumber('run', 'made', here);
    expect(await this.text('run')).toBe([...speak(here)].join(''));
  }

  /** `Makes it`, `Has finished`, `Aborted at …`, `Failed at …`. */
  async untilModel(panel: Panel, says: string): Promise<void> {
    await this.page.locator(`#${panel} [data-shows=model]`).filter({ hasText: says }).waitFor();
  }

  /** Who makes the run, and who serves it to this page. */
  async route(): Promise<string[]> {
    const text = await this.page.locator('#run .route').textContent();
    return /made by (\w), served by (\w)/.exec(text!)?.slice(1) ?? [];
  }
}

/** Visits the chat, and leaves it at the end; what the browser has complained of in between must be expected. */
async function chatting(
  test: (chat: ChatPage) => Promise<void>,
  {
    url = sample.url,
    complaints = /^$/,
    hash = '',
  }: { url?: string; complaints?: RegExp; hash?: string } = {},
): Promise<void> {
  const visitor = await visit(browser);
  try {
    await visitor.page.goto(`${url}/chat.html${hash}`);
    await test(new ChatPage(visitor.page));
  } finally {
    await visitor.leave();
  }
  expect(visitor.complaints.filter((text) => !complaints.test(text))).toEqual([]);
}

// Side by side: they wait for a model most of the time.
describe('an answer as a run', () => {
  it.concurrent('goes on after a reload in its middle, whole, and was made once', () =>
    chatting(async (chat) => {
      await chat.askAndRead({ tokens: '6000' });
      const read = await chat.number('run', 'here');
      await chat.button('Reload').click();
      await chat.untilStatus('usual', 'nothing to come back to');
      await chat.untilMore('run', 'here', read + 20);
      // The usual one goes on as well, for nobody.
      await until('it does', async () => {
        const sent = await chat.number('usual', 'sent');
        return sent > 0 && (await chat.number('usual', 'made')) > sent + 20;
      });
      expect(await chat.text('usual')).toBe('');

      await chat.stop();
      await chat.expectAllThatWasMade();
      expect(await chat.number('run', 'sent')).toBeGreaterThan(await chat.number('run', 'made'));
    }),
  );

  it.concurrent('goes on where it stood after the network was down', () =>
    chatting(
      async (chat) => {
        const lastEventIds: (string | undefined)[] = [];
        chat.page.on('request', (request) => {
          if (/\/chat\/.*\/stream/.test(request.url())) {
            lastEventIds.push(request.headers()['last-event-id']);
          }
        });
        await chat.askAndRead({ tokens: '6000' });
        await chat.button('Drop the network').click();
        await chat.untilStatus('usual', 'Lost');
        const read = await chat.number('usual', 'here');
        await chat.untilMore('run', 'here', read + 40);
        await chat.untilMore('usual', 'made', read + 40);
        expect(await chat.number('usual', 'here')).toBe(read);

        await chat.stop();
        await chat.expectAllThatWasMade();
        // What it had is not sent again.
        expect(lastEventIds).toEqual([expect.any(String)]);
      },
      { complaints: CUT },
    ),
  );

  it.concurrent('ends where it is stopped, and the model with it', () =>
    chatting(async (chat) => {
      await chat.askAndRead({ tokens: '6000' });
      await chat.stop();
      await chat.untilModel('run', 'Aborted at');

      const made = await chat.number('run', 'made');
      expect(made).toBeLessThan(6_000);
      expect(await chat.status('usual')).toBe('Left');
      await chat.untilMore('usual', 'made', (await chat.number('usual', 'made')) + 20);
      expect(await chat.number('run', 'made')).toBe(made);
      await chat.expectAllThatWasMade();
    }),
  );

  it.concurrent('is the same in a second tab, and is made once', () =>
    chatting(async (chat) => {
      await chat.askAndRead();
      const [opened] = await Promise.all([
        chat.page.context().waitForEvent('page'),
        chat.button('Open in a second tab').click(),
      ]);
      const second = new ChatPage(opened);
      await second.untilStatus('run', 'Complete');
      await chat.untilStatus('run', 'Complete');

      expect(await second.text('run')).toBe(WHOLE);
      expect(await chat.text('run')).toBe(WHOLE);
      await second.untilNumber('run', 'sent', 120);
      expect(await second.number('run', 'made')).toBe(60);
    }),
  );

  it.concurrent('is aborted some time after everybody has left, where the usual one is not', async () => {
    const counts = { run: { made: 0 } as Counts, usual: { made: 0 } as Counts };
    const leaving = new AbortController();
    let following: Promise<void> | undefined;
    await chatting(async (chat) => {
      await chat.askAndRead({ tokens: '6000', orphanMs: '5000' });
      const id = new URL(chat.page.url()).hash.slice(1);
      following = followCounts(id, counts, leaving.signal);
    });
    await until('the model was aborted', () => counts.run.model?.state === 'aborted');
    const { made } = counts.usual;
    await until('the usual one goes on', () => counts.usual.made > made + 20);
    leaving.abort();
    await following;

    expect(counts.run.made).toBeLessThan(6_000);
    expect(counts.run.made).toBeGreaterThan(counts.run.sent);
  });

  it.concurrent('that fails before its first token has the status of its provider', () =>
    chatting(
      async (chat) => {
        await chat.ask({ behaviour: 'refuses' });
        await chat.untilStatus('run', /^429: /);
        await chat.untilStatus('usual', 'Complete');

        expect(await chat.text('usual')).toBe('');
        await chat.untilModel('usual', 'Failed at');
      },
      { complaints: /status of 429/ },
    ),
  );

  it.concurrent('that fails on its way says so', () =>
    chatting(async (chat) => {
      await chat.ask({ behaviour: 'fails' });
      await chat.untilStatus('run', 'Failed: Internal server error');
      await chat.untilStatus('usual', 'Complete');

      for (const panel of ['run', 'usual'] as const) {
        expect(await chat.number(panel, 'here')).toBe(20);
        expect(WHOLE.startsWith(await chat.text(panel))).toBe(true);
      }
    }),
  );

  it.concurrent('holds no stream while its page is kept for the back button, and goes on after', () =>
    chatting(async (chat) => {
      await chat.askAndRead({ tokens: '6000' });
      const cut = chat.page.waitForEvent('requestfailed', (request) => request.url().includes('/chat?'));
      await chat.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))");
      await cut;
      const read = await chat.number('run', 'here');
      await chat.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))");
      await chat.untilMore('run', 'here', read + 20);
      expect(await chat.status('usual')).toBe('Left');

      await chat.stop();
      await chat.expectAllThatWasMade();
    }),
  );

  it.concurrent('that nobody knows is nothing to resume', () =>
    chatting(
      async (chat) => {
        await chat.untilStatus('run', 'Nothing to resume');
        expect(await chat.text('run')).toBe('');
      },
      { hash: '#nobody-knows-it' },
    ),
  );
});

describe('the page of the chat', () => {
  it.concurrent('is linked with the others', () =>
    chatting(async ({ page }) => {
      await page.getByRole('link', { name: 'Dashboard' }).click();
      await page.getByRole('heading', { name: 'That process' }).waitFor();
      await page.getByRole('link', { name: 'Chat' }).click();
      await page.getByRole('heading', { name: 'As a run' }).waitFor();
      expect(page.url()).toBe(`${sample.url}/chat.html`);
    }),
  );

  it.concurrent('shows the code as it runs, and fits windows of a phone and of a desk', () =>
    chatting(async ({ page }) => {
      const code = (name: string, text: string): Promise<void> =>
        page.getByRole('region', { name }).getByText(text).waitFor();

      await code('The run’s endpoints', 'runs.attach(res');
      await code('The run’s client', 'sse.run(');
      await code('The usual endpoint', 'res.flushHeaders()');
      await code('The usual client', '/usual?client=');
      await code('The model’s code', 'chat.completions.create');
      for (const width of [320, 768, 1024, 1440]) {
        await page.setViewportSize({ width, height: 800 });
        expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBe(width);
      }
    }),
  );

  it.concurrent('can be used with the keyboard alone', () =>
    chatting(async (chat) => {
      const { page } = chat;
      const focused = () => page.evaluate<string>('document.activeElement.name || document.activeElement.id');
      await page.getByRole('link').last().focus();
      for (const name of ['text', 'tokens', 'orphanMs', 'behaviour', 'ask']) {
        await page.keyboard.press('Tab');
        expect(await focused()).toBe(name);
      }
      await page.keyboard.press('Enter');
      await chat.untilStatus('run', 'Streaming');
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('stop');
      await page.keyboard.press('Enter');
      await chat.untilStatus('run', 'Stopped');
      expect(await focused()).toBe('stop');
    }),
  );
});

describe('on a server that speaks as OpenAI’s does', () => {
  it('streams its answer, and closes its request where the run is stopped, not where the client of the usual one leaves', async () =>
    chatting(
      async (chat) => {
        await chat.page.getByText('Answered by gpt-4o-mini.').waitFor();
        await chat.ask();
        const { generations } = model;
        await until('both have asked', () => generations.length === 2);
        for (const generation of generations) {
          generation.give(10);
        }
        await chat.untilNumber('run', 'here', 10);
        await chat.untilNumber('usual', 'here', 10);
        expect(await chat.text('run')).toBe(textOf(10));

        await chat.button('Stop').click();
        await Promise.race(generations.map((generation) => generation.closed()));
        await chat.untilModel('run', 'Aborted at');
        for (const generation of generations) {
          generation.give(10);
        }
        await chat.untilNumber('usual', 'made', 20);

        expect(generations.filter(({ closedAt }) => closedAt !== undefined)).toHaveLength(1);
        expect(await chat.number('run', 'made')).toBe(10);
        for (const generation of generations) {
          generation.finish();
        }
      },
      { url: (await remote).url },
    ));

  it('gives its refusal on', async () =>
    chatting(
      async (chat) => {
        model.refusal = { status: 429, message: 'Slower.' };
        await chat.ask();
        await chat.untilStatus('run', /^429: /);
        expect(await chat.text('usual')).toBe('');
      },
      { url: (await remote).url, complaints: /status of 429/ },
    ));
});

describe('on three instances', () => {
  /** Asks, and comes back until the run is served by another instance than that which makes it. */
  async function askAcross(chat: ChatPage): Promise<[maker: string, server: string]> {
    await chat.askAndRead({ tokens: '6000' });
    for (let turns = 1; ; turns += 1) {
      await until('it is known who makes it', async () => (await chat.route()).length === 2);
      const [maker, server] = await chat.route();
      if (maker !== server) {
        return [maker!, server!];
      }
      await shiftTurns(chat.page, turns % INSTANCES);
      await chat.page.reload();
    }
  }

  /**
   * Has nginx, which asks the instances in turn, begin with another one. The requests of a page may be a multiple of
   * the instances: each reload would lead to the same one.
   */
  async function shiftTurns(page: Page, turns: number): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) {
      await page.request.get(new URL('/counts/model', page.url()).href);
    }
  }

  it('goes on on another one when that which serves it is killed', async () =>
    chatting(
      async (chat) => {
        const [maker, server] = await askAcross(chat);
        await chat.button('Kill this instance').click();
        await until(
          'another one serves it',
          async () => ![undefined, server].includes((await chat.route())[1]),
        );
        await chat.untilMore('run', 'here', (await chat.number('run', 'here')) + 20);
        expect((await chat.route())[0]).toBe(maker);

        await chat.stop();
        await chat.expectAllThatWasMade();
      },
      { url: (await cluster).url, complaints: CUT },
    ));

  it('is told in the stream that the instance which makes it is gone', async () =>
    chatting(
      async (chat) => {
        await askAcross(chat);
        await chat.button('Kill the one that makes it').click();
        await chat.untilStatus('run', /^Failed: /);

        await chat.untilModel('run', 'Gone with its process');
        const here = await chat.number('run', 'here');
        expect(await chat.text('run')).toBe([...speak(here)].join(''));
      },
      { url: (await cluster).url, complaints: CUT },
    ));
});

interface Counts {
  answer: string;
  made: number;
  sent: number;
  model?: { state: string };
}

/** What the page shows as numbers, for a test without one. */
async function followCounts(id: string, counts: Record<Panel, Counts>, signal: AbortSignal): Promise<void> {
  const query = `answer=${id}&answer=usual-${id}`;
  const answer = await fetch(`${sample.url}/counts?${query}`, { signal });
  const parser = createParser({
    onEvent: ({ event, data }) => {
      if (event !== 'counts') {
        return;
      }
      const read = JSON.parse(data) as Counts;
      counts[read.answer === id ? 'run' : 'usual'] = read;
    },
  });
  try {
    for await (const text of answer.body!.pipeThrough(new TextDecoderStream())) {
      parser.feed(text);
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
  }
}
