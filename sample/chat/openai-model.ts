import type { Question } from './question.js';

/** Which model `OPENAI_BASE_URL` is asked for. */
export const { OPENAI_MODEL: modelName = 'gpt-4o-mini' } = process.env;

// #region openai
/** Any server that speaks as OpenAI's: see OPENAI_BASE_URL. */
export async function* askOpenAi(
  { text, tokens }: Question,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  // Without a key the SDK is not needed, so it is loaded here.
  const { default: OpenAI } = await import('openai');
  // The page is to see a 429 at once: no retries here.
  const client = new OpenAI({ maxRetries: 0 });
  const chunks = await client.chat.completions.create(
    {
      model: modelName,
      messages: [{ role: 'user', content: text }],
      max_tokens: tokens,
      stream: true,
    },
    // Without it, the model goes on, and so does the bill.
    { signal },
  );
  for await (const { choices } of chunks) {
    const token = choices[0]?.delta.content;
    if (token) {
      yield token;
    }
  }
}
// #endregion
