import { afterEach, describe, expect, it } from '@jest/globals';
import { ServerResponse } from 'node:http';
import { Controller, Get, Res } from '@nestjs/common';
import { SseModule, SseService } from 'nestjs-event-stream';
import { closeAll, open, platforms } from '../../support/apps/platforms.js';

@Controller()
class Feed {
  constructor(private readonly sse: SseService) {}

  @Get('feed')
  feed(@Res() res: object) {
    this.sse.connect(res).follow('news');
  }
}

/** As monitoring agents do, which are loaded before all else: for every response of the process. */
function patchWrite(seen: string[]): () => void {
  const own = Object.getOwnPropertyDescriptor(ServerResponse.prototype, 'write');
  const { write } = ServerResponse.prototype;
  ServerResponse.prototype.write = function (this: ServerResponse, ...args: unknown[]) {
    seen.push(String(args[0]));
    return Reflect.apply(write, this, args) as boolean;
  };
  return () => {
    if (own) {
      Object.defineProperty(ServerResponse.prototype, 'write', own);
    } else {
      Reflect.deleteProperty(ServerResponse.prototype, 'write');
    }
  };
}

describe.each(platforms.filter(({ http2 }) => !http2))(
  'a patched http.ServerResponse, on $name',
  ({ create }) => {
    let restore: (() => void) | undefined;
    afterEach(async () => {
      restore?.();
      restore = undefined;
      await closeAll();
    });

    it.each(['before', 'after'])('sees every frame, patched %s the stream began', async (when) => {
      const app = await create({ imports: [SseModule.forRoot()], controllers: [Feed] });
      const seen: string[] = [];
      if (when === 'before') {
        restore = patchWrite(seen);
      }
      const streams = [await open(app, '/feed'), await open(app, '/feed')];
      for (const stream of streams) {
        await stream.until(({ events }) => events.some(({ type }) => type === 'cursor'));
      }
      await app.get(SseService).publish('news', 'zero');
      restore ??= patchWrite(seen);
      for (const data of ['one', 'two']) {
        await app.get(SseService).publish('news', data);
      }
      for (const stream of streams) {
        await stream.until(({ events }) => events.some(({ data }) => data === 'two'));
      }
      expect(seen.join('').match(/data: (one|two)\n/g)).toHaveLength(4);
    });
  },
);
