import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import type { StreamFormatName, StreamSource } from 'nestjs-event-stream';
import type { ModelServer } from '../support/servers/model-server.js';

/** A provider's package as the source of an answer, as its users write it. */
export interface SdkProducer {
  readonly name: string;
  readonly format: StreamFormatName;
  source(model: ModelServer): StreamSource;
}

const MESSAGES = [{ role: 'user' as const, content: 'Why?' }];

export const sdkProducers: SdkProducer[] = [
  {
    name: 'openai',
    format: 'openai',
    source: (model) => {
      const client = new OpenAI({ apiKey: 'none', baseURL: model.base });
      return ({ signal }) =>
        client.chat.completions.create({ model: 'm', messages: MESSAGES, stream: true }, { signal });
    },
  },
  {
    name: '@anthropic-ai/sdk',
    format: 'anthropic',
    source: (model) => {
      const client = new Anthropic({ apiKey: 'none', baseURL: model.base });
      return ({ signal }) =>
        client.messages.create({ model: 'm', max_tokens: 9, messages: MESSAGES, stream: true }, { signal });
    },
  },
  {
    name: 'openai, by its helper stream()',
    format: 'openai',
    source: (model) => {
      const client = new OpenAI({ apiKey: 'none', baseURL: model.base });
      return ({ signal }) => client.chat.completions.stream({ model: 'm', messages: MESSAGES }, { signal });
    },
  },
  {
    name: '@anthropic-ai/sdk, by its helper stream()',
    format: 'anthropic',
    source: (model) => {
      const client = new Anthropic({ apiKey: 'none', baseURL: model.base });
      return ({ signal }) =>
        client.messages.stream({ model: 'm', max_tokens: 9, messages: MESSAGES }, { signal });
    },
  },
];
