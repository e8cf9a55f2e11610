import { expect, jest } from '@jest/globals';
import { createElement, StrictMode } from 'react';
import type { ReactNode } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import type { Root } from 'react-dom/client';
import { SseClient } from 'nestjs-event-stream/client';
import { SseProvider } from 'nestjs-event-stream/react';
import { ScriptedFetch, ScriptedStream, settled } from '../clients/scripted-fetch.js';

interface Host extends Element {
  textContent: string;
  innerHTML: string;
  remove(): void;
}
const { document } = globalThis as unknown as {
  document: { createElement(name: string): Host; body: { appendChild(host: Host): Host } };
};
const realTimeout = setTimeout;

/** A page that React renders into, and a server whose answers a test writes. Frames and timers are the test's. */
export class ReactPage {
  readonly scripted = new ScriptedFetch();
  readonly client = new SseClient({
    baseUrl: 'http://host/',
    fetch: this.scripted.fetch,
    retry: { minMs: 0 },
  });
  /** What React, or a component, has complained of. */
  readonly complaints: unknown[] = [];
  readonly #host = document.body.appendChild(document.createElement('main'));
  #root: Root | undefined;

  constructor() {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    jest.spyOn(console, 'error').mockImplementation((...args) => void this.complaints.push(args.join(' ')));
  }

  get text(): string {
    return this.#host.textContent;
  }

  /** The requests, as `GET /feed`. */
  get asked(): string[] {
    return this.scripted.requests.map(({ method, url }) => `${method} ${url.replace('http://host', '')}`);
  }

  /** Streams that answer the next requests. */
  streams(count: number): ScriptedStream[] {
    const streams = Array.from({ length: count }, () => new ScriptedStream());
    this.scripted.answer(...streams.map(({ response }) => response));
    return streams;
  }

  async render(node: ReactNode, { isStrict = false, client = this.client } = {}): Promise<void> {
    const onError = (error: unknown) => this.complaints.push(error);
    this.#root ??= createRoot(this.#host, { onRecoverableError: onError });
    this.#root.render(this.wrap(node, { isStrict, client }));
    await settled();
  }

  async hydrate(html: string, node: ReactNode): Promise<void> {
    this.#host.innerHTML = html;
    const onRecoverableError = (error: unknown) => this.complaints.push(error);
    this.#root = hydrateRoot(this.#host, this.wrap(node), { onRecoverableError });
    await settled();
  }

  wrap(node: ReactNode, { isStrict = false, client = this.client } = {}): ReactNode {
    const app = createElement(SseProvider, { client }, node);
    return isStrict ? createElement(StrictMode, null, app) : app;
  }

  /** Lets time pass; 16 ms are a frame. */
  async pass(ms: number): Promise<void> {
    await jest.advanceTimersByTimeAsync(ms);
    await settled();
  }

  /** Waits for a text in real time: React has its own clock for how long a fallback stays, so that it does not flash. */
  async shows(text: string | RegExp): Promise<void> {
    while (!(typeof text === 'string' ? this.text === text : text.test(this.text))) {
      await new Promise((resolve) => realTimeout(resolve, 5));
    }
    await settled();
  }

  async write(stream: ScriptedStream, text: string): Promise<void> {
    stream.write(text);
    await settled();
    await this.pass(16);
  }

  hide(isHidden: boolean): void {
    Object.defineProperty(document, 'visibilityState', {
      value: isHidden ? 'hidden' : 'visible',
      configurable: true,
    });
  }

  async unmount(): Promise<void> {
    this.#root?.unmount();
    await settled();
    await this.pass(0);
  }

  /** Ends the test. Fails if a timer is left, or if React or a component has complained. */
  async leave(): Promise<void> {
    await this.unmount();
    this.#host.remove();
    this.hide(false);
    const left = jest.getTimerCount();
    jest.useRealTimers();
    jest.restoreAllMocks();
    expect({ timers: left, complaints: this.complaints }).toEqual({ timers: 0, complaints: [] });
  }
}
