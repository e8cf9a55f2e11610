import { describe, expect, it } from '@jest/globals';
import { Get, Sse } from '@nestjs/common';
import type { ConnectionSettings } from '../connection/index.js';
import { RouteTable } from './route-table.js';

type Handler = (...args: never[]) => unknown;

const settings = (retryMs: number) => ({ retryMs }) as ConnectionSettings;

class Feeds {
  @Sse('feed')
  feed() {
    return 'feed';
  }

  @Get('plain')
  plain() {
    return 'plain';
  }
}
class Others extends Feeds {}

/** Wraps a handler as a tracer does, for each app or each request. */
function wrapped(handler: Handler, { name = handler.name, copies = true } = {}): Handler {
  const wrapper = function (this: unknown, ...args: never[]) {
    return handler.apply(this, args);
  };
  Object.defineProperty(wrapper, 'name', { value: name });
  for (const key of copies ? Reflect.getMetadataKeys(handler) : []) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), wrapper);
  }
  return wrapper;
}

function tableOf(): RouteTable {
  const table = new RouteTable();
  table.add(Feeds, 'feed', settings(1));
  table.add(Others, 'feed', settings(2));
  const { feed } = Feeds.prototype;
  table.mark(Feeds, 'feed', feed);
  table.mark(Others, 'feed', feed);
  return table;
}

describe('RouteTable', () => {
  const { feed, plain } = Feeds.prototype;

  it.each<[string, () => Handler]>([
    ['the handler itself', () => feed],
    ['a wrapper with its metadata and its name', () => wrapped(feed)],
    ['a wrapper with its metadata and another name', () => wrapped(feed, { name: 'wrapper' })],
    ['a wrapper with its name alone', () => wrapped(feed, { copies: false })],
    ['a wrapper around a wrapper', () => wrapped(wrapped(feed, { name: 'inner' }), { name: 'outer' })],
  ])('finds a route by its class and %s', (_what, wrap) => {
    const table = tableOf();
    const handler = wrap();
    for (let times = 0; times < 2; times += 1) {
      expect(table.find(Feeds, handler)).toEqual(settings(1));
      expect(table.find(Others, handler)).toEqual(settings(2));
    }
  });

  it('finds nothing for another handler, another class, or a wrapper that has copied nothing', () => {
    const table = tableOf();
    expect(table.find(Feeds, plain)).toBeUndefined();
    expect(table.find(class {}, feed)).toBeUndefined();
    expect(table.find(Feeds, wrapped(feed, { name: 'wrapper', copies: false }))).toBeUndefined();
    expect(table.find(Feeds, wrapped(plain, { name: 'feed' }))).toBeUndefined();
  });

  it('keeps the settings of each app apart, whichever app marked a handler first', () => {
    const [one, two] = [tableOf(), new RouteTable()];
    two.add(Feeds, 'feed', settings(3));
    two.mark(Feeds, 'feed', feed);
    expect([one, two].map((table) => table.find(Feeds, wrapped(feed)))).toEqual([settings(1), settings(3)]);
  });
});
