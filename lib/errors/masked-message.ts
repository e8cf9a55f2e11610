/** The message for a client if the error's own message is not meant for it. Nest's filter answers the same. */
export const MASKED_FAILURE = Object.freeze({ message: 'Internal server error', status: 500 });
