/** The script of the page that client.spec.ts opens: it runs the client, and reports what comes by requests. */
import { defineTopic, SseClient } from 'nestjs-event-stream/client';
import { readAll } from './compressed-readers.js';
import type { Readings } from './compressed-readers.js';

const { location } = globalThis as unknown as { location: { search: string; origin: string } };
const query = new URLSearchParams(location.search);
const base = query.get('base') ?? location.origin;
const numbers = defineTopic<{ message: number }>('a');

const log: unknown[] = [];
/** One report at a time, so that none overtakes another. */
let reporting = Promise.resolve<unknown>(undefined);
function report(entry: unknown): void {
  log.push(entry);
  const text = JSON.stringify(log);
  reporting = reporting.then(() => fetch(`/report?log=${encodeURIComponent(text)}`));
}

/** The newest readings, and whether they are being sent. */
let readings: Readings | undefined;
let isSending = false;
async function reportReadings(newest: Readings): Promise<void> {
  readings = newest;
  if (isSending) {
    return;
  }
  isSending = true;
  while (readings) {
    const text = JSON.stringify([readings]);
    readings = undefined;
    await fetch(`/report?log=${encodeURIComponent(text)}`);
  }
  isSending = false;
}

let tokens = 0;
const client = new SseClient({
  baseUrl: base,
  credentials: 'omit',
  retry: { minMs: 10 },
  headers: base === location.origin ? async () => ({ authorization: `Bearer ${(tokens += 1)}` }) : {},
});

async function follow(): Promise<void> {
  const feed = client.follow('/feed', numbers, {
    state: async () => (await fetch('/state')).json() as Promise<{ data: number; at: string }>,
    onState: (state) => report({ state }),
    onReset: (reason) => report({ reset: reason }),
    onError: ({ code, status }) => status === 401 && report({ error: code, status }),
    onStatus: (status) => status === 'closed' && report('closed'),
  });
  for await (const { data } of feed) {
    report(data);
  }
}

async function ask(): Promise<void> {
  const url = (id: string) => `/runs/${id}`;
  const answer = client.run<number>({ id: 'r', start: { url }, attach: url, stop: url });
  for await (const item of answer) {
    report(item);
    if (item === 9) {
      report({ stopped: await answer.stop() });
    }
  }
  report(await answer.outcome);
}

if (query.has('readers')) {
  readAll(base, (newest) => void reportReadings(newest));
} else {
  void (query.has('run') ? ask() : follow());
}
