import type { InspectedConnection, InspectedRun } from '../sse.inspection.js';
import type { ListPart } from './protocol.js';

/** A list of this process while it is made. */
export interface ListMaker {
  addConnection(connection: InspectedConnection): void;
  addRun(run: InspectedRun): void;
  make(): ListPart;
}
