import { describe, expect, it } from '@jest/globals';
import { HeardWords } from './heard-words.js';

describe('the words that a page of the chaos of runs has heard', () => {
  it('are those of a loss when a connection has brought all of them, whatever the one before it had', () => {
    const words = new HeardWords('ai-sdk');
    words.hear('error', '');
    expect(words.told).toBeUndefined();

    words.reconnect();
    words.hear('error', '');
    expect(words.told).toBeUndefined();
    words.hear('[DONE]', '');
    expect(words.told).toBe('failed');
  });

  it('are those of the log over all connections', () => {
    const words = new HeardWords('ai-sdk');
    words.hear('error', 'k1-4-00000004');
    words.reconnect();
    words.hear('[DONE]', 'k1-5-00000005');
    expect(words.told).toBe('failed');
  });

  it('are those of a loss after some of the log', () => {
    const words = new HeardWords('ai-sdk');
    words.hear('error', 'k1-4-00000004');
    words.reconnect();
    words.hear('error', '');
    words.hear('[DONE]', '');
    expect(words.told).toBe('failed');
  });

  it('are none before there is one, or when the page begins anew, also of a run without words', () => {
    const words = new HeardWords('none');
    expect(words.told).toBeUndefined();
    words.hear('error', 'k1-4-00000004');
    expect(words.told).toBe('failed');
    words.forget();
    expect(words.told).toBeUndefined();
  });
});
