/**
 * Checks that carry a promise, each taken out, with the test that must then fail. `find` stands
 * exactly once in the file.
 */
export const mutants = [
  {
    name: 'the nonce is not compared',
    file: 'lib/log/tail.ts',
    find: 'return nonce === this.#headNonce;',
    replace: 'return true;',
    also: [['return event && event.record.nonce === nonce;', 'return event && true;']],
    test: 'lib/topics/topics.spec.ts',
    title: 'says reset to an id of another nonce',
  },
  {
    name: 'the epoch is not compared',
    file: 'lib/topics/start.ts',
    find: 'if (position.epoch !== tail.epoch) {',
    replace: 'if (position.epoch === undefined) {',
    test: 'lib/topics/topics.spec.ts',
    title: 'says reset to an id of another epoch',
  },
  {
    name: 'the anchor below the ring is not looked for',
    file: 'lib/topics/start.ts',
    find: 'return reason ? {',
    replace: 'return reason && false ? {',
    test: 'lib/topics/topics.spec.ts',
    title: 'says reset to an id that another event has below the ring',
  },
  {
    name: 'authorize is not asked at replay',
    file: 'lib/topics/follower.ts',
    find: 'candidate.covers(event.topicTokens) && candidate.admits(event, authorize)',
    replace: 'candidate.covers(event.topicTokens) && candidate.admits(event, authorize && (() => true))',
    test: 'lib/topics/topics.spec.ts',
    title: 'asks authorize and filter live and at replay, and withholds what they fail on',
  },
  {
    name: 'no cursor frame is written',
    file: 'lib/topics/follower.ts',
    find: 'if (this.#lastId === undefined) {',
    replace: 'if (this.#lastId === null) {',
    test: 'lib/topics/topics.spec.ts',
    title: 'resumes a client that has seen the cursor alone',
  },
  {
    name: 'a quiet client is told nothing',
    file: 'lib/topics/topics.ts',
    find: 'follower.refreshCursor(maxBehind);',
    replace: 'void follower;',
    test: 'lib/topics/topics.spec.ts',
    title: 'tells a quiet client the place of the log before its own is trimmed',
  },
  {
    name: 'a follower that lags is bounded by nothing',
    file: 'lib/topics/follower.ts',
    find: "this.connection.destroy('slow');",
    replace: 'void 0;',
    test: 'lib/topics/topics.spec.ts',
    title: 'closes as slow who reads nothing for too long',
  },
  {
    name: 'a page that runs ahead of the tail is taken whole',
    file: 'lib/topics/follower.ts',
    find: '.filter(({ record }) => record.sequence <= tail.last)',
    replace: '',
    test: 'lib/topics/topics.spec.ts',
    title: 'gives nothing twice where the log is ahead of its tail',
  },
  {
    name: 'a refreshed cursor names what is still to be offered',
    file: 'lib/topics/follower.ts',
    find: 'this.#writeCursor(event.position, offered);',
    replace: 'this.#writeCursor(tail.position, tail.last);',
    test: 'lib/topics/topics.spec.ts',
    title: 'names in a refreshed cursor only what has been offered',
  },
];
