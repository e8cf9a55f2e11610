/**
 * Calls back after the data that waits in sockets has been read. After a process stood still, its timers fire before
 * the sockets are read. A deadline that gave up at once would miss an answer that has arrived in time.
 *
 * @returns a function that cancels the call
 */
export function afterReading(callback: () => void): () => void {
  // In a round of the event loop, timers come first, then sockets, then this. A client library may read in pieces or
  // deliver later, so one round may not be enough.
  let immediate = setImmediate(() => {
    immediate = setImmediate(callback);
  });
  return () => clearImmediate(immediate);
}
