import { Injectable } from '@nestjs/common';
import { CountsService, type ModelState } from './counts.service.js';
import { askLocalModel } from './local-model.js';
import { askOpenAi, modelName } from './openai-model.js';
import type { Question } from './question.js';

const isLocal = !process.env.OPENAI_API_KEY;

/** A model, and the count of what it makes: each token costs, whether or not anybody reads it. */
@Injectable()
export class ModelService {
  /** Undefined where it is the local generator. */
  readonly name = isLocal ? undefined : modelName;

  constructor(private readonly counts: CountsService) {}

  /** Ends as soon as the signal aborts, also while it waits for its next token. */
  async *answer(
    question: Question,
    signal?: AbortSignal,
  ): AsyncGenerator<string> {
    const tally = this.counts.of(question.id);
    const ask = isLocal ? askLocalModel : askOpenAi;
    // A reader may stop reading: return() ends the loop then, and this stays.
    let state: ModelState = 'aborted';
    tally.modelIs('running');
    try {
      for await (const token of ask(question, signal)) {
        tally.made();
        yield token;
      }
      state = 'finished';
    } catch (error) {
      state = 'failed';
      throw error;
    } finally {
      // Some throw then, others just come to an end.
      tally.modelIs(signal?.aborted ? 'aborted' : state);
    }
  }
}
