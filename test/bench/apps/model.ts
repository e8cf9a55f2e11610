/** A model: the chunks of an answer, as a provider's package gives them, at a pace of its own. */
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';

/** How an answer comes. */
export interface Answer {
  tokens: number;
  /** In all, evenly or in packets; without it a packet follows the other in the next turn. */
  perSecond?: number;
  /** Tokens that come in one packet of the network, in a cycle. */
  packets: readonly number[];
  /** Whether it does not end by itself. */
  isHeld?: boolean;
}

/** As the `openai` package gives it: about 200 bytes as JSON. */
export interface ModelChunk {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: { index: number; delta: { content: string }; finish_reason: null }[];
}

/** @param signal - ends one that is held */
export async function* answerOf(
  { tokens, perSecond, packets, isHeld }: Answer,
  signal?: AbortSignal,
): AsyncGenerator<ModelChunk> {
  const begin = performance.now();
  let made = 0;
  for (let packet = 0; made < tokens; packet += 1) {
    const end = Math.min(tokens, made + packets[packet % packets.length]!);
    // All of a packet is there when its last token is.
    const waitMs = perSecond === undefined ? 0 : begin + (end * 1_000) / perSecond - performance.now();
    await (waitMs > 0 ? pause(waitMs) : turn());
    if (signal?.aborted) {
      return;
    }
    for (; made < end; made += 1) {
      yield chunkOf(made);
    }
  }
  if (isHeld && !signal?.aborted) {
    await new Promise((resolve) => {
      signal?.addEventListener('abort', resolve, { once: true });
    });
  }
}

/** `~` is what the clients count, and after it stands which one it is. */
function chunkOf(n: number): ModelChunk {
  return {
    id: 'chatcmpl-CQx4hYt2WcVb8ZpRkE1sUoLmNiJg7',
    object: 'chat.completion.chunk',
    created: 1_760_000_000,
    model: 'gpt-5-mini-2025-08-07',
    choices: [{ index: 0, delta: { content: `~${n} ` }, finish_reason: null }],
  };
}
