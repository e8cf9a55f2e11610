import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from '@swc/core';
import { defineTopic, SseClient } from 'nestjs-event-stream/client';
import type { Component } from 'svelte';
import { compile } from 'svelte/compiler';
import { ScriptedFetch, ScriptedStream } from '../support/clients/scripted-fetch.js';
import { guideExample } from '../suites/guide-blocks.js';

export interface Order {
  readonly id: number;
}
const ID = (n: number) => `e-${n}-00000000`;

/** A server of orders whose stream a test writes, and what the recipes call `client`, `orders` and `readOrders`. */
export class Shop {
  readonly stream = new ScriptedStream();
  readonly scripted = new ScriptedFetch().answer(this.stream.response);
  readonly names = {
    client: new SseClient({ baseUrl: 'http://host/', fetch: this.scripted.fetch }),
    orders: defineTopic<{ created: Order; cancelled: Order }>('orders.*'),
    readOrders: async () => ({ data: [{ id: 1 }], at: ID(1) }),
  };

  /** The place, after which the state is read. */
  begin(): void {
    this.stream.write(`event: cursor\ndata: {"snapshots":0}\nid: ${ID(1)}\n\n`);
  }

  create(id: number): void {
    this.stream.write(`event: created\ndata: {"id":${id}}\nid: ${ID(id)}\n\n`);
  }
}

const ROOT = fileURLToPath(new URL('node_modules/', import.meta.url));

/** The guide's recipe that holds a text, as a module. */
export function recipe<Exports>(text: string, { names }: Shop): Promise<Exports> {
  const { code } = transformSync(guideExample(text), {
    configFile: false,
    swcrc: false,
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  });
  Object.assign(globalThis, names);
  return load<Exports>(code);
}

/** A component with one property, `store`. */
export async function compileSvelte(markup: string): Promise<Component> {
  const { js } = compile(`<script>let { store } = $props();</script>${markup}`, { generate: 'client' });
  return (await load<{ default: Component }>(js.code)).default;
}

/** Imports code from where the frameworks are found. */
async function load<Exports>(code: string): Promise<Exports> {
  const folder = mkdtempSync(join(ROOT, '.recipe-'));
  const file = join(folder, 'recipe.mjs');
  try {
    writeFileSync(file, code);
    return (await import(pathToFileURL(file).href)) as Exports;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
