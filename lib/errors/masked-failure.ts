/** What a client is told of a failure whose message is not meant for it. Nest's own filter answers the same. */
export const MASKED_FAILURE = Object.freeze({ message: 'Internal server error', status: 500 });
