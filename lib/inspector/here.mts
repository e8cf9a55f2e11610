/**
 * The folder of the ES modules that the page loads. This file is an ES module in both builds: only such a one knows
 * where it is.
 */
export const ES_MODULES = new URL('../../esm/', import.meta.url);
