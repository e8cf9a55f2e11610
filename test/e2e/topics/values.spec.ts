import { afterEach, describe, expect, it } from '@jest/globals';
import type { LoggerService } from '@nestjs/common';
import { SseError } from 'nestjs-event-stream';
import { Subject } from 'rxjs';
import { closeAll, open } from '../../support/apps/platforms.js';
import { createTopicsApp, rows } from './topics-app.js';

class ErrorLog implements LoggerService {
  readonly errors: string[] = [];

  error(...parts: unknown[]) {
    this.errors.push(parts.map(String).join(' '));
  }

  log() {}
  warn() {}
}

const circular: Record<string, unknown> = {};
circular.self = circular;

describe.each(rows)(
  'values on a connection that follows, through $style on $platform.name',
  ({ platform, path }) => {
    afterEach(closeAll);

    const create = async () => {
      const logger = new ErrorLog();
      const context = await createTopicsApp(platform, { maxEventBytes: 1_000 }, { logger });
      const stream = await open(context.app, path);
      await stream.next();
      return { context, stream, connection: context.connections[0]!, errors: logger.errors };
    };

    it('a message of a user ends no subscription that sends it, whatever is in it', async () => {
      const { stream, connection, errors } = await create();
      const chat = new Subject<object>();
      const answers: boolean[] = [];
      const subscription = chat.subscribe((message) => answers.push(connection.send(message)));

      for (const message of [
        { text: 'a\u2028id: 1' },
        { data: 'a\nid: 1\r\nid: 2' },
        { text: 'x'.repeat(2_000) },
        circular,
        { data: 1, type: 'a\nid: 1' },
        { data: 1, retry: 1e12 },
        { text: 'the last' },
      ]) {
        chat.next(message);
      }

      const [first, second, last] = await stream.take(3);
      expect(first!.json()).toEqual({ text: 'a\u2028id: 1' });
      expect(second!.data).toBe('a\nid: 1\nid: 2');
      expect(last!.json()).toEqual({ text: 'the last' });
      expect([first, second, last].map((event) => event!.id)).toEqual([undefined, undefined, undefined]);
      expect(answers).toEqual([true, true, false, false, false, false, true]);
      expect(subscription.closed).toBe(false);
      expect(errors).toEqual([expect.stringContaining('could not be sent, and was left out')]);
      await stream.close();
    });

    it('an id is refused, as the code’s mistake', async () => {
      const { stream, connection } = await create();

      expect(() => connection.send({ id: 1, data: 'x' })).toThrow(SseError);
      expect(() => connection.send({ id: '', data: 'x' })).toThrow('positions in the log');
      await stream.close();
    });

    it.each<[string, unknown]>([
      ['bytes', Buffer.from('x')],
      ['what is too large', 'x'.repeat(2_000)],
    ])('a snapshot of %s ends the stream without an id, and is reported once', async (_, data) => {
      const { context, stream, errors } = await create();
      await stream.close();
      context.follow((connection) => connection.follow('a', { snapshot: () => ({ data }) }));

      const streams = [await open(context.app, path), await open(context.app, path)];
      for (const each of streams) {
        await each.untilEnd();
        expect(each.lastEventId).toBe('');
      }
      expect(errors).toHaveLength(1);
      expect(errors[0]).toContain('could not be given its place in the log');
    });
  },
);
