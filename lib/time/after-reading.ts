/**
 * Calls back when what has come on sockets by now is read. A process that stood still finds its timers due before it
 * reads what has long come: a deadline that gives up at once gives up what is there.
 *
 * @returns what takes it back
 */
export function afterReading(callback: () => void): () => void {
  // Of a round of the event loop, timers come first, then sockets, then this. One round may not
  // be enough for a library that reads by the piece, or hands on later what it has read.
  let immediate = setImmediate(() => {
    immediate = setImmediate(callback);
  });
  return () => clearImmediate(immediate);
}
