/** A `fetch` for the SDKs that keeps the bytes of the answer, as text, beside handing them on. */
export class RecordingFetch {
  /** What has come so far. */
  text = '';
  headers: Headers | undefined;
  status: number | undefined;
  readonly #added: Readonly<Record<string, string>>;

  /** @param added - headers of every request, beside those of the SDK */
  constructor(added: Readonly<Record<string, string>> = {}) {
    this.#added = added;
  }

  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const headers = new Headers(init?.headers);
    Object.entries(this.#added).forEach(([name, value]) => headers.set(name, value));
    const response = await fetch(input, { ...init, headers });
    this.headers = response.headers;
    this.status = response.status;
    if (!response.body) {
      return response;
    }
    const decoder = new TextDecoder();
    const recorded = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          this.text += decoder.decode(chunk, { stream: true });
          controller.enqueue(chunk);
        },
      }),
    );
    return new Response(recorded, response);
  };

  /** The frames, without heartbeats and without ids. */
  get frames(): string {
    return this.text.replaceAll(/^(:|id: .*)\n/gm, '');
  }

  /** The ids, of those frames that have one. */
  get ids(): string[] {
    return Array.from(this.text.matchAll(/^id: (.*)$/gm), ([, id]) => id!);
  }

  /** How many heartbeats have come. */
  get heartbeats(): number {
    return this.text.split('\n').filter((line) => line === ':').length;
  }
}
