/** Part of the page's script: reads one compressed feed in all ways that a browser has, each over cuts. */
import { SseClient } from 'nestjs-event-stream/client';
import { numberedData } from '../support/apps/numbered-events.js';

/** What the page reports: the numbers of the events that each reader has got, and -1 for one that is not whole. */
export interface Readings {
  readonly eventSource: number[];
  readonly client: number[];
  readonly fetched: number[];
  /** Heartbeats that the reader by `fetch` has seen. */
  beats: number;
}

const RETRY_MS = 20;

/** @param report - called with all of it after each event and each heartbeat */
export function readAll(base: string, report: (readings: Readings) => void): void {
  const readings: Readings = { eventSource: [], client: [], fetched: [], beats: 0 };
  const url = `${base}/feed`;
  const take = (numbers: number[], text: string): void => {
    const n = Number(/^\{"n":(\d+)/.exec(text)?.[1]);
    numbers.push(text === JSON.stringify(numberedData(n)) ? n : -1);
    report(readings);
  };
  new EventSource(url).addEventListener('message', ({ data }) => take(readings.eventSource, String(data)));
  new SseClient({ credentials: 'omit', retry: { minMs: RETRY_MS } })
    .follow(url)
    .on('message', (data) => take(readings.client, JSON.stringify(data)));
  const onBeat = (): void => {
    readings.beats += 1;
    report(readings);
  };
  void readByFetch(url, (text) => take(readings.fetched, text), onBeat);
}

async function readByFetch(url: string, onData: (text: string) => void, onBeat: () => void): Promise<void> {
  let at = '';
  for (;;) {
    let event = { type: '', data: '', id: '' };
    const onLine = (line: string): void => {
      const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line)!;
      if (line === ':') {
        onBeat();
      } else if (line !== '') {
        event = { ...event, [name === 'event' ? 'type' : name]: value };
      } else if (event.data !== '') {
        at = event.id;
        if (event.type === '') {
          onData(event.data);
        }
        event = { type: '', data: '', id: '' };
      }
    };
    // A stream that is cut rejects.
    await readLines(at === '' ? url : `${url}?lastEventId=${at}`, onLine).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function readLines(url: string, onLine: (line: string) => void): Promise<void> {
  const { body } = await fetch(url);
  const reader = body!.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const lines = (rest + decoder.decode(read.value, { stream: true })).split('\n');
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
}
