'use client';

import { createContext, createElement, useContext } from 'react';
import type { ReactElement, ReactNode } from 'react';
import { SseClientError } from '../client/index.js';
import type { SseClient } from '../client/index.js';

const ClientContext = createContext<SseClient | undefined>(undefined);

/** Props of {@link SseProvider}. */
export interface SseProviderProps {
  /** Make it once, outside of components: another client closes what the one before it has followed. */
  readonly client: SseClient;
  readonly children?: ReactNode;
}

/**
 * Gives the components below it the client that their hooks use.
 *
 * @example
 * ```tsx
 * const client = new SseClient();
 * root.render(<SseProvider client={client}><App /></SseProvider>);
 * ```
 */
export function SseProvider({ client, children }: SseProviderProps): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children);
}

/**
 * Returns the client of the {@link SseProvider} above.
 *
 * @throws SseClientError `options-invalid` without a provider
 */
export function useSseClient(): SseClient {
  const client = useContext(ClientContext);
  if (!client) {
    const message =
      'There is no SseProvider above this component. Wrap the app: <SseProvider client={client}>.';
    throw new SseClientError('options-invalid', message);
  }
  return client;
}
