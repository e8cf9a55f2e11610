import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { createRegistry } from '../../test/support/apps/stream-server.js';
import { ScriptedSource } from '../../test/support/apps/scripted-source.js';
import { turns, Twins } from '../../test/support/clients/twin-responses.js';
import { memory } from '../engines/memory/index.js';
import { startSettings } from './options.js';
import { Runs } from './runs.js';

const SILENT = { warn: () => undefined, error: () => undefined, debug: () => undefined };
const SETTINGS = {
  leaseMs: 60_000,
  ringBytes: 20_000,
  maxRuns: 1,
  maxEventBytes: 1_000_000,
  maxLagMs: 60_000,
};

const client = fc.nat(5);
const item = fc.record({ token: fc.nat(), times: fc.integer({ min: 1, max: 300 }) });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ push: fc.array(item, { minLength: 1, maxLength: 3 }) }) },
  { weight: 1, arbitrary: fc.constant('attach' as const) },
  { weight: 1, arbitrary: fc.record({ resume: client }) },
  { weight: 1, arbitrary: fc.record({ beat: client }) },
  { weight: 1, arbitrary: fc.record({ stall: client }) },
  { weight: 1, arbitrary: fc.record({ drain: client }) },
);

it('with stream, each client of a run decodes byte for byte what it would have got uncompressed', async () => {
  let written = 0;
  let saved = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
      const store = memory()();
      const registry = createRegistry();
      const runs = new Runs(store, SETTINGS, {
        wheel: registry.wheel,
        reporter: SILENT,
        publicError: () => ({ message: 'masked', status: 500 }),
      });
      const source = new ScriptedSource();
      const all: Twins[] = [];
      const attach = async (lastEventId?: string) => {
        const twins = new Twins(registry, 'stream', { lastEventId, finite: true });
        for (const connection of twins.connections) {
          const wanted = { owner: undefined, lastEventId, mustKnowEnd: () => false };
          await runs.attach(connection, (await runs.find('a', wanted))!);
        }
        all.push(twins);
      };
      await runs.start('a', source.source, startSettings({ format: 'json', orphanMs: false }));
      await attach();
      await attach();
      for (const taken of steps) {
        const of = (n: number): Twins => all[n % all.length]!;
        if (taken === 'attach') {
          await attach();
        } else if ('push' in taken) {
          source.push(...taken.push.map(({ token, times }) => ({ text: `token ${token} `.repeat(times) })));
        } else if ('resume' in taken) {
          const { lastId } = of(taken.resume);
          of(taken.resume).each((_, response) => response.destroy());
          await attach(lastId);
        } else if ('beat' in taken) {
          // Of this client alone: a heartbeat of all in step would be one more than their twins get.
          of(taken.beat).each((connection) => connection.isPending || connection.output.write(':\n'));
        } else if ('stall' in taken) {
          of(taken.stall).each((_, response) => (response.reads = false));
        } else {
          of(taken.drain).each((_, response) => response.drain());
        }
        await turns(3);
      }
      source.end();
      const isOpen = () => all.some(({ connections }) => connections.some(({ isClosed }) => !isClosed));
      for (let n = 0; n < 5_000 && isOpen(); n += 1) {
        all.forEach((twins) => twins.each((_, response) => response.drain()));
        await turns(3);
      }
      for (const { gzip, plain } of all) {
        expect(gzip.text).toBe(plain.text);
      }
      written += registry.writeCounts.bytes;
      saved += registry.writeCounts.savedBytes;
      all.forEach((twins) => twins.each((_, response) => response.destroy()));
      expect(registry.sharedStreams.size).toBe(0);
      await runs.drain();
      await runs.close();
      await store.close();
    }),
    { numRuns: 12 },
  );
  expect(saved).toBeGreaterThan(written / 10);
}, 120_000);
