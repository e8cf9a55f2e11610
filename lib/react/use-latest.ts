'use client';

import { useInsertionEffect, useRef } from 'react';

/** What the last committed render gave: for callbacks that outlive a render. */
export function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  // Before every other effect, of children too. A layout effect would be warned of on servers by React 18.
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
