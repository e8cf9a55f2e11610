import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Sse } from '@nestjs/common';
import type { LoggerService } from '@nestjs/common';
import { SseModule } from 'nestjs-event-stream';
import { concat, interval, map, NEVER, of, take } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import { served } from './served.js';

/** An event with getters, like that of a class. */
class Reading {
  constructor(private readonly celsius: number) {}

  get type() {
    return 'reading';
  }

  get data() {
    return { celsius: this.celsius };
  }
}

/** An id such as database drivers create. */
class ObjectId {
  toString() {
    return '65f0c0ffee0000000000cafe';
  }

  toJSON() {
    return this.toString();
  }
}

/** What a handler emits, and what the client reads of it: type, data, id. */
const table: [emitted: unknown, type: string, data: string, id: string | undefined][] = [
  [{ data: { a: 1 } }, 'message', '{"a":1}', undefined],
  [{ data: 'text', type: 'note', id: '7', retry: 500 }, 'note', 'text', '7'],
  [{ data: 'text', id: '' }, 'message', 'text', ''],
  [{ data: 'one\ntwo\r\nthree\rfour' }, 'message', 'one\ntwo\nthree\nfour', undefined],
  [{ data: '' }, 'message', '', undefined],
  [{ data: 0 }, 'message', '0', undefined],
  [{ data: true }, 'message', 'true', undefined],
  [{ data: null }, 'message', 'null', undefined],
  [{ data: [1, [2]] }, 'message', '[1,[2]]', undefined],
  [{ data: 'with a comment', comment: 'aside' }, 'message', 'with a comment', undefined],
  [new Reading(21.5), 'reading', '{"celsius":21.5}', undefined],
  ['text', 'message', 'text', undefined],
  [42, 'message', '42', undefined],
  [0, 'message', '0', undefined],
  [false, 'message', 'false', undefined],
  [null, 'message', 'null', undefined],
  [[1, 2, 3], 'message', '[1,2,3]', undefined],
  [[], 'message', '[]', undefined],
  [{ message: 'hi' }, 'message', '{"message":"hi"}', undefined],
  [{ id: 5, name: 'x' }, 'message', '{"id":5,"name":"x"}', undefined],
  [{ type: 'circle' }, 'message', '{"type":"circle"}', undefined],
  [{ data: 'x', id: new ObjectId() }, 'message', 'x', '65f0c0ffee0000000000cafe'],
  [{ data: 'x', id: 9007199254740993n }, 'message', 'x', '9007199254740993'],
  [{ data: 'x', type: 2 }, '2', 'x', undefined],
  [{ data: 'x', retry: '700' }, 'message', 'x', undefined],
  [{ data: { of: new ObjectId() } }, 'message', '{"of":"65f0c0ffee0000000000cafe"}', undefined],
];

const shared = { data: { to: 'everyone' }, type: 'shared' };
const frozen = Object.freeze({ data: Object.freeze({ to: 'everyone' }), type: 'frozen' });

@Controller()
class Events {
  @Sse('table')
  table() {
    return concat(of(...table.map(([emitted]) => emitted)), NEVER);
  }

  @Sse('shared')
  shared() {
    return interval(2).pipe(
      take(3),
      map(() => shared),
    );
  }

  @Sse('frozen')
  frozen() {
    return interval(2).pipe(
      take(3),
      map(() => frozen),
    );
  }

  @Sse('aside')
  aside() {
    return of({ comment: 'skip me' }, { retry: 250 }, { data: 'seen' });
  }

  @Sse('misspelt')
  misspelt() {
    return of({ data: 1, event: 'tick' }, { data: 2, event: 'tick' });
  }
}

const app = { imports: [SseModule.forRoot()], controllers: [Events] };

afterEach(closeAll);

describe.each(served)('the events of an @Sse() route on $name', ({ create }) => {
  it('arrive as they were emitted, without an id if the handler gave none', async () => {
    const stream = await open(await create(app), '/table');
    const events = await stream.take(table.length);
    expect(events.map(({ type, data, id }) => [type, data, id])).toEqual(
      table.map(([, type, data, id]) => [type, data, id]),
    );
    expect(stream.comments).toEqual(['aside']);
    expect(stream.retries).toEqual([3000, 500, 700]);
  });

  it.each([
    ['shared', shared],
    ['frozen', frozen],
  ])('reach every client unchanged, and are not modified: %s', async (path, event) => {
    const server = await create(app);
    const streams = await Promise.all([1, 2, 3].map(() => open(server, `/${path}`)));
    const frame = `event: ${path}\ndata: {"to":"everyone"}\n\n`;
    for (const stream of streams) {
      expect(await stream.ended).toBe('complete');
      // On the wire it follows a line feed and a `retry`, and nothing else.
      expect(stream.raw).toBe(`retry: 3000\n${frame}${frame}${frame}`);
    }
    expect(event).toEqual({ data: { to: 'everyone' }, type: path });
  });

  it('may be a comment or a retry alone, which no client sees as an event', async () => {
    const stream = await open(await create(app), '/aside');
    expect(await stream.ended).toBe('complete');
    expect(stream.comments).toEqual(['skip me']);
    expect(stream.retries).toEqual([3000, 250]);
    expect(stream.events.map(({ data }) => data)).toEqual(['seen']);
  });

  it('with fields that no event has are sent without them, and a warning names the fields once', async () => {
    const warnings: unknown[] = [];
    const silent = () => undefined;
    const logger: LoggerService = {
      log: silent,
      error: silent,
      warn: (message: unknown) => warnings.push(message),
    };
    const server = await create(app, { logger });
    for (let time = 0; time < 2; time++) {
      const stream = await open(server, '/misspelt');
      expect(await stream.ended).toBe('complete');
      expect(stream.events.map(({ type, data }) => [type, data])).toEqual([
        ['message', '1'],
        ['message', '2'],
      ]);
    }
    expect(warnings).toEqual([expect.stringContaining('/misspelt sends events with "event"')]);
  });
});
