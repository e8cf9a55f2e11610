import type { RunSource } from 'nestjs-event-stream';
import type { Gate } from '../support/gate.js';
import { Random } from '../support/random.js';

// Of one to four bytes each, so that a cut falls within characters as well.
const LETTERS = ['a', 'z', ' ', '\n', '"', '\\', 'ß', '\u2028', '語', '🚋', '\0'];

/** A text in pieces, the same again with the same seed. */
export function textOf(seed: number, pieces = 150): string[] {
  const random = new Random(seed);
  return Array.from({ length: pieces }, () =>
    Array.from({ length: random.between(1, 12) }, () => random.pick(LETTERS)).join(''),
  );
}

/** Where an answer stops for a while. */
export interface Pause {
  readonly after: number;
  readonly gate: Gate;
}

/** An answer for the AI SDK, a piece a turn of the event loop. */
export function chatAnswer(pieces: readonly string[], messageId: string, pause?: Pause): RunSource {
  return async function* ({ signal }) {
    yield { type: 'start', messageId };
    yield { type: 'text-start', id: 't' };
    for await (const delta of paced(pieces, signal, pause)) {
      yield { type: 'text-delta', id: 't', delta };
    }
    yield { type: 'text-end', id: 't' };
    yield { type: 'finish' };
  };
}

/** An answer for AG-UI, a piece a turn of the event loop. */
export function agentAnswer(
  pieces: readonly string[],
  messageId: string,
  { threadId, runId }: Record<string, unknown>,
  pause?: Pause,
): RunSource {
  return async function* ({ signal }) {
    yield { type: 'RUN_STARTED', threadId, runId };
    yield { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant' };
    for await (const delta of paced(pieces, signal, pause)) {
      yield { type: 'TEXT_MESSAGE_CONTENT', messageId, delta };
    }
    yield { type: 'TEXT_MESSAGE_END', messageId };
    yield { type: 'RUN_FINISHED', threadId, runId };
  };
}

async function* paced(pieces: readonly string[], signal: AbortSignal, pause?: Pause) {
  for (const [n, piece] of pieces.entries()) {
    if (n === pause?.after) {
      await Promise.race([
        pause.gate.opened,
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('aborted'))),
        ),
      ]);
    }
    await new Promise((resolve) => setImmediate(resolve));
    yield piece;
  }
}
