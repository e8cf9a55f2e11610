/** What a page tells its streams. All of it is absent outside of a browser. */
export interface PageListener {
  /** The network is back, or the page is seen again: what waits is tried at once. */
  readonly wake: (reason: 'online' | 'visible') => void;
  /** The page is about to be frozen, cached or gone. */
  readonly leave: () => void;
  /** It is back. */
  readonly comeBack: () => void;
}

interface Target {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}
interface PageGlobals extends Target {
  readonly document?: Target & { readonly visibilityState: string };
}

const page = globalThis as PageGlobals;

/** @returns a function that removes the listeners */
export function watchPage({ wake, leave, comeBack }: PageListener): () => void {
  const onVisible = (): void => {
    if (page.document?.visibilityState !== 'hidden') {
      wake('visible');
    }
  };
  const listeners: [Target | undefined, string, () => void][] = [
    [page, 'online', () => wake('online')],
    [page, 'pagehide', leave],
    [page, 'pageshow', comeBack],
    [page.document, 'freeze', leave],
    [page.document, 'resume', comeBack],
    [page.document, 'visibilitychange', onVisible],
  ];
  listeners.forEach(([target, type, listener]) => target?.addEventListener?.(type, listener));
  return () => listeners.forEach(([target, type, listener]) => target?.removeEventListener?.(type, listener));
}
