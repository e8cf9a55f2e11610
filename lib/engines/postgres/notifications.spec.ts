import { describe, expect, it } from '@jest/globals';
import { NO_APP } from '../../log/index.js';
import type { PostgresConnection } from './connections.js';
import type { PostgresLink } from './link.js';
import { Notifications } from './notifications.js';

/** A server that sends each notification back, as PostgreSQL does; and what others send. */
function scriptedPostgres() {
  let listener: (payload?: string) => void = () => undefined;
  const connection = {
    isSession: true,
    onNotification: (callback: (payload?: string) => void) => (listener = callback),
  } as unknown as PostgresConnection;
  const link = {
    connection: () => Promise.resolve(connection),
    queryOn: (_connection: PostgresConnection, text: string, params?: readonly string[]) => {
      if (text.includes('pg_notify')) {
        listener(params!.at(-1));
      }
      return Promise.resolve([]);
    },
  } as unknown as PostgresLink;
  return { connection, link, send: (payload?: string) => listener(payload) };
}

describe('notifications of PostgreSQL', () => {
  it('are of other processes: this one knows of its own events', async () => {
    const { connection, link, send } = scriptedPostgres();
    const options = { notifying: link, channel: 'sse', sender: 'self', engine: NO_APP, hasListenUrl: false };
    const heard: (string | undefined)[] = [];
    const notifications = new Notifications(link, options);
    expect(await notifications.listen(connection, (id) => heard.push(id))).toBe(true);
    for (const payload of ['7 self', '8 other', '9', '', undefined]) {
      send(payload);
    }
    expect(heard).toEqual(['8', '9', '', undefined]);
  });
});
