import { expect, it } from '@jest/globals';
import {
  ANNOUNCING_TYPE,
  encodeHeartbeatComment,
  nameAddedTopics,
  readAddedTopics,
  readHeartbeatComment,
  readsAnnouncements,
} from './announcements.js';

it.each([
  [undefined, false],
  ['*/*', false],
  ['text/event-stream', false],
  [`text/event-stream, ${ANNOUNCING_TYPE}`, true],
])('tells of a client with Accept %j whether it reads announcements', (accept, expected) => {
  expect(readsAnnouncements(accept)).toBe(expected);
});

it('reads the heartbeat that it writes', () => {
  expect(encodeHeartbeatComment(15_000)).toBe(': heartbeat 15000\n');
  expect(readHeartbeatComment('heartbeat 15000')).toBe(15_000);
});

it.each(['', 'heartbeat', 'heartbeat off', 'heartbeat 0', 'heartbeat -1', 'ping'])(
  'takes no heartbeat from the comment %j',
  (text) => {
    expect(readHeartbeatComment(text)).toBeUndefined();
  },
);

it('hands added patterns over in the query, whatever they hold, a hundred at most', () => {
  const query = new URLSearchParams('a=1&addedTopics=old');
  nameAddedTopics(query, ['a.*', 'b,c.>', 'd&e']);
  expect(readAddedTopics(`/x?${query.toString()}`)).toEqual(['a.*', 'b,c.>', 'd&e']);
  expect(readAddedTopics('/x')).toEqual([]);
  expect(readAddedTopics(undefined)).toEqual([]);
  nameAddedTopics(
    query,
    Array.from({ length: 200 }, (_, n) => `t.${n}`),
  );
  expect(readAddedTopics(`/x?${query.toString()}`)).toHaveLength(100);
});
