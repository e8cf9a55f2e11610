/** How long a change may wait to be rendered, in milliseconds: a hidden tab has no frames. */
const MAX_WAIT_MS = 250;
/** The length of a frame where there are none, as in a test. */
const FRAME_MS = 16;

interface PageGlobals {
  readonly document?: { readonly visibilityState: string };
  requestAnimationFrame?(callback: () => void): number;
  cancelAnimationFrame?(frame: number): void;
}
const page = globalThis as PageGlobals;

/** Joins all changes within one frame, of however many stores, into one render. */
export class Frames {
  readonly #changed = new Set<() => void>();
  #changedAt = 0;
  #renderedAt = -MAX_WAIT_MS;
  #cancel: (() => void) | undefined;

  /** Calls `render` with the next frame, once for however many requests. */
  request(render: () => void): void {
    this.#changed.add(render);
    const now = performance.now();
    if (!this.#cancel) {
      this.#changedAt = now;
      this.#cancel = this.#plan(now);
    } else if (now - this.#changedAt >= MAX_WAIT_MS) {
      // Browsers slow the timers of hidden tabs down to one in a second or more: what comes does not wait for them.
      this.#render();
    }
  }

  /** Takes a request back. */
  forget(render: () => void): void {
    this.#changed.delete(render);
    if (this.#changed.size === 0) {
      this.#cancel?.();
      this.#cancel = undefined;
    }
  }

  #plan(now: number): () => void {
    const render = (): void => this.#render();
    const isHidden = page.document?.visibilityState === 'hidden';
    const waitMs = isHidden ? this.#renderedAt + MAX_WAIT_MS - now : MAX_WAIT_MS;
    if (waitMs <= 0) {
      return afterThisChunk(render);
    }
    if (isHidden || !page.requestAnimationFrame) {
      const timer = setTimeout(render, isHidden ? waitMs : FRAME_MS);
      return () => clearTimeout(timer);
    }
    const frame = page.requestAnimationFrame(render);
    // The tab may be hidden before the frame comes.
    const timer = setTimeout(render, waitMs);
    return () => {
      page.cancelAnimationFrame?.(frame);
      clearTimeout(timer);
    };
  }

  #render(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#renderedAt = performance.now();
    const changed = [...this.#changed];
    this.#changed.clear();
    changed.forEach((render) => render());
  }
}

/** Events that came in one chunk are handed over in one turn. */
function afterThisChunk(render: () => void): () => void {
  let isCanceled = false;
  queueMicrotask(() => isCanceled || render());
  return () => {
    isCanceled = true;
  };
}
