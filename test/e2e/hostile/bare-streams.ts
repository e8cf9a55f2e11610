import type { ServerResponse } from 'node:http';
import type { AppResponse, Streams } from './routes.js';

/** Streams as tutorials write them, without this package. */
export const bareStreams: Streams = {
  open(res) {
    const response = res as AppResponse & { hijack?(): void; getHeaders?(): Record<string, string> };
    const raw = response.raw ?? (res as ServerResponse);
    response.hijack?.();
    raw.writeHead(200, {
      ...response.getHeaders?.(),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
    });
    raw.flushHeaders();
    return {
      send: ({ data, type, id }) =>
        raw.write(
          `${type === undefined ? '' : `event: ${type}\n`}${id === undefined ? '' : `id: ${id}\n`}` +
            `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`,
        ),
      close: () => raw.end(),
    };
  },

  async stream(res, items) {
    const iterator = items()[Symbol.asyncIterator]();
    const first = await iterator.next();
    const stream = bareStreams.open(res);
    for (let item = first; !item.done; item = await iterator.next()) {
      stream.send(item.value as { data: unknown });
    }
    stream.close();
  },
};
