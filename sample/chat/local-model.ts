import { setTimeout } from 'node:timers/promises';
import type { Question } from './question.js';

/** What a provider answers in place of tokens: its SDK throws an error with the status. */
class RefusedError extends Error {
  readonly status = 429;
}

const SENTENCES = [
  'I am no model, only a small generator that behaves like one: I think for a while, and then I speak in bursts.',
  'Reload this page in the middle of a sentence, and the sentence goes on.',
  'Drop the network, and what you have missed comes as soon as you are back, every word of it once.',
  'Open a second tab, and it shows the same answer, which was made once and is paid once.',
  'Press stop, and I hear of it within milliseconds, on whichever instance I run.',
  'Close all tabs, and I go on for as long as you allow; then nobody wants me, and I am aborted.',
  'The other answer is made by the same generator, which nobody tells that you have left.',
];
const THINKING_MS = 300;
const PAUSE_MS = 100;
const LONG_PAUSE_MS = 500;
const BURST = 4;

/**
 * Behaves like a model, and costs nothing: it thinks, speaks in bursts, hesitates, and fails where
 * it is asked to.
 */
export async function* askLocalModel(
  { tokens, behaviour }: Question,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  await setTimeout(THINKING_MS, undefined, { signal });
  if (behaviour === 'refuses') {
    throw new RefusedError('Too many tokens a minute. Try again later.');
  }
  const fatal = behaviour === 'fails' ? Math.ceil(tokens / 3) : Infinity;
  let made = 0;
  for (const token of speak(tokens)) {
    if (made === fatal) {
      throw new Error('The model has hung up.');
    }
    yield token;
    made += 1;
    if (Math.random() < 1 / BURST) {
      await setTimeout(pause(), undefined, { signal });
    }
  }
}

/** The same words each time, numbered, so that one can see whether any are missing. */
export function* speak(count: number): Generator<string> {
  for (let made = 0, n = 1; made < count; n += 1) {
    const gap = n === 1 ? '' : '\n\n';
    const sentence = `${gap}${n}. ${SENTENCES[(n - 1) % SENTENCES.length]}`;
    // About as much as a token is: a short word, or a part of a long one.
    for (const token of sentence.match(/\s*\S{1,6}/g)!) {
      if (made === count) {
        return;
      }
      yield token;
      made += 1;
    }
  }
}

function pause(): number {
  const most = Math.random() < 0.05 ? LONG_PAUSE_MS : 2 * PAUSE_MS;
  return Math.random() * most;
}
