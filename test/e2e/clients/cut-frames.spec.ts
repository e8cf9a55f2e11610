import { afterEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { closeAll, platforms } from '../../support/apps/platforms.js';
import { createCutApp, cutOnce, cutsWithinFrames, DATA, eachOf } from './cut-frames.js';
import { oracles } from './oracles.js';
import type { Oracle } from './oracles.js';

/** Takes an id as soon as its line has come, and so loses the frame of which no more than the blank line is missing. */
const TAKES_ID_EARLY = '@microsoft/fetch-event-source';
const FRAMES_CUT = DATA.length - 1;

// The frames are the same on all platforms: every byte is tried on the first one.
const rows = platforms
  .filter(({ http2 }) => !http2)
  .map((platform, index) => ({ name: platform.name, platform, step: index === 0 ? 1 : 5 }));

describe.each(rows)('a stream on $name that is cut within a frame', ({ platform, step }) => {
  afterEach(closeAll);

  /** What a client has got in the end, where the answer was cut after so many bytes. */
  async function received(oracle: Oracle, port: number, path: string, bytes: number): Promise<string[]> {
    const proxy = await cutOnce(port, bytes);
    const subscription = oracle.subscribe(`http://127.0.0.1:${proxy.port}${path}`, [
      'changed',
      'cursor',
      'reset',
    ]);
    const contents = () => subscription.messages.map(({ data }) => data).filter((data) => data !== '');
    try {
      await waitFor(() => contents().at(-1) === DATA.at(-1), {
        timeoutMs: 20_000,
        describe: () =>
          `the last event after a cut at ${bytes}, having received ${JSON.stringify(contents())}`,
      });
      return contents();
    } finally {
      subscription.close();
      await proxy.stop();
    }
  }

  it.each(oracles)(
    'gives $name every event once, wherever it is cut',
    async (oracle) => {
      const { port } = await createCutApp(platform);
      const cuts = await cutsWithinFrames(port, '/connect');
      const losses: number[] = [];
      const others: unknown[] = [];

      const tried = cuts.filter((_, index) => index % step === 0);
      await eachOf(tried, 20, async (bytes) => {
        const contents = await received(oracle, port, '/connect', bytes);
        const isMissing =
          contents.length === DATA.length - 1 && contents.every((data) => DATA.includes(data));
        if (isMissing) {
          losses.push(bytes);
        } else if (contents.join() !== DATA.join()) {
          others.push([bytes, contents]);
        }
      });

      expect(cuts.length).toBeGreaterThan(200);
      expect(others).toEqual([]);
      expect(losses.length).toBeLessThanOrEqual(oracle.name === TAKES_ID_EARLY ? FRAMES_CUT : 0);
    },
    120_000,
  );
});
