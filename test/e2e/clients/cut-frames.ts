import { connect } from 'node:net';
import type { SseModuleOptions } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import { baseOf } from '../../support/apps/platforms.js';
import type { CreateOptions, Platform } from '../../support/apps/platforms.js';
import { createTopicsApp } from '../topics/topics-app.js';

/** What is published, with characters of several bytes and lines. */
export const CONTENTS = ['first', { n: 2, text: '收到 🙂' }, 'third\nin two lines', 'last'];
/** The same as clients get it. */
export const DATA = CONTENTS.map((data) => (typeof data === 'string' ? data : JSON.stringify(data)));

const OPTIONS: SseModuleOptions = { retryMs: 10 };

/** An app whose clients get the same bytes, in which the frames of {@link CONTENTS} stand. */
export async function createCutApp(platform: Platform, createOptions: CreateOptions = {}) {
  const context = await createTopicsApp(platform, OPTIONS, createOptions);
  context.follow((connection) => connection.follow('a', { from: 'earliest' }));
  for (const [index, data] of CONTENTS.entries()) {
    await context.sse.publish('a', { data, ...(index % 2 ? { type: 'changed' } : {}) });
  }
  return { ...context, port: Number(new URL(baseOf(context.app)).port) };
}

/**
 * How many bytes of an answer may come for it to be cut within a frame, at each place: from the first byte of the first
 * event to the last byte of the last but one.
 */
export async function cutsWithinFrames(port: number, path: string): Promise<number[]> {
  const bytes = await answerOf(port, path);
  const first = bytes.indexOf('data: first');
  const last = bytes.indexOf('data: last');
  return Array.from({ length: last - first }, (_, index) => first + index);
}

/** A proxy that cuts its first connection after so many bytes, and no other. */
export function cutOnce(port: number, bytes: number): Promise<FaultProxy> {
  let isFirst = true;
  return FaultProxy.start(port, {
    cutAfter: () => {
      // In order: a reset would take back what has come and was not read yet.
      const cut = { bytes: isFirst ? bytes : Infinity, byReset: false };
      isFirst = false;
      return cut;
    },
  });
}

/** Runs a task for each, so many at a time. */
export async function eachOf<T>(items: readonly T[], atOnce: number, task: (item: T) => Promise<void>) {
  const rest = [...items];
  const work = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) {
      await task(item);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/** What comes over the socket, head and all. */
async function answerOf(port: number, path: string): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  await waitFor(() => /data: last\nid: .*\n\n/.test(Buffer.concat(chunks).toString()));
  socket.destroy();
  return Buffer.concat(chunks);
}
