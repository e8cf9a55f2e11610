import { describe, expect, it } from '@jest/globals';
import { channelOf, storedName } from './names.js';

describe('a name as PostgreSQL keeps it', () => {
  it.each(['a', 'run:1', 'ä 😀', '漢'.repeat(170), "'; drop table x; --"])('is %j itself', (name) => {
    expect(storedName(name)).toBe(name);
  });

  it('is short and of its own for a name that is long, empty, holds a NUL or half a surrogate pair, or looks hashed', () => {
    const names = ['', '\0', 'a\0', '\ud800', '\udc00', '漢'.repeat(171), '漢'.repeat(172), 'sha256:abc'];
    const stored = names.map(storedName);
    expect(new Set(stored).size).toBe(names.length);
    stored.forEach((one) => expect(one).toMatch(/^sha256:[0-9a-f]{64}$/));
    expect(storedName(stored[0]!)).not.toBe(stored[0]);
  });

  it('leaves the app’s log its empty one', () => {
    expect(storedName('')).not.toBe('');
  });
});

describe('the channel of a log', () => {
  it('fits into a name of PostgreSQL, and is of one schema and log', () => {
    const channels = [channelOf('a', 'b'), channelOf('a', 'c'), channelOf('b', 'b')];
    expect(new Set(channels).size).toBe(3);
    channels.forEach((channel) => expect(channel.length).toBeLessThan(64));
  });
});
