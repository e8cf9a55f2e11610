/** Follows a server of its own in a page of StrictMode, and prints what both have seen. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createElement, StrictMode, version } from 'react';
import { renderToString } from 'react-dom/server';
import { defineTopic, SseClient } from 'nestjs-event-stream/client';
import { SseProvider, useFollow } from 'nestjs-event-stream/react';

const numbers = defineTopic<{ message: number }>('numbers');

function Sum() {
  const { data, status } = useFollow('/feed', numbers, {
    initialData: 0,
    reduce: (sum, event) => sum + event.data,
  });
  return createElement('p', null, `${status} ${data.toFixed()}`);
}

/** The document that this process is to have; the path of a jsdom stands in the environment. */
async function openPage(): Promise<HTMLElement> {
  const { JSDOM } = (await import(process.env['JSDOM']!)) as {
    JSDOM: new (html: string, options: object) => { window: Window };
  };
  const { window } = new JSDOM('<main></main>', { pretendToBeVisual: true });
  const requestAnimationFrame = window.requestAnimationFrame.bind(window);
  const { document, navigator } = window;
  for (const [name, value] of Object.entries({ window, document, navigator, requestAnimationFrame })) {
    Object.defineProperty(globalThis, name, { value, configurable: true });
  }
  return document.querySelector('main')!;
}

async function main(): Promise<void> {
  let connections = 0;
  const server = createServer((_request, response) => {
    connections += 1;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\ndata: 2\n\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new SseClient({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
  const app = createElement(StrictMode, null, createElement(SseProvider, { client }, createElement(Sum)));

  const html = renderToString(app);
  const host = await openPage();
  const { createRoot } = await import('react-dom/client');
  const root = createRoot(host);
  root.render(app);
  while (host.textContent !== 'open 3') {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  root.unmount();
  const closed = once(server, 'close');
  server.close();
  await closed;
  console.log(JSON.stringify({ version, html, connections }));
}

void main();
