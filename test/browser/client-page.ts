/** The script of the page that client.spec.ts opens: it runs the client, and reports what comes by requests. */
import { defineTopic, SseClient } from 'nestjs-event-stream/client';

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

void (query.has('run') ? ask() : follow());
