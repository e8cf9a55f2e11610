/** A `fetch` for the SDKs that keeps the bytes of the answer, as text, beside handing them on. */
export class RecordingFetch {
  /** What has come so far. */
  text = '';
  headers: Headers | undefined;
  status: number | undefined;

  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init);
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

  /** How many heartbeats have come. */
  get heartbeats(): number {
    return this.text.split('\n').filter((line) => line === ':').length;
  }
}
