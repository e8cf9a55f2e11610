export type { Produced, RunProducer } from './producer.js';
export { RunProducers } from './producers.js';
export type { ProducedRun } from './producers.js';
