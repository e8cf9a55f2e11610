import { describe, expect, it } from '@jest/globals';
import { LogEvent } from './log-event.js';

const weightOf = (data: string) =>
  new LogEvent({ sequence: 1, topic: 't', nonce: '0000abcd', time: 0, data, isJson: false }, 'e').weight;

describe('LogEvent.weight', () => {
  it.each([
    ['a byte for each character of ASCII', 'x'.repeat(1_000), 1_000, 1_000],
    ['a byte for each character of Latin-1, two in the frames', 'é'.repeat(1_000), 1_000, 2_000],
    ['two bytes for each character beside one that is not Latin-1', `${'x'.repeat(999)}€`, 2_000, 1_002],
    ['two bytes for each character of Chinese, three in the frames', '字'.repeat(1_000), 2_000, 3_000],
  ])('counts the text and two frames: %s', (_what, data, text, frame) => {
    expect(weightOf(data) - weightOf('')).toBe(text + 2 * frame);
  });
});
