import { Inject, Injectable } from '@nestjs/common';
import { HealthIndicatorService } from '@nestjs/terminus';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { SseService } from '../index.js';
import { SseError } from '../errors/index.js';

/** When an instance stops being ready: see {@link SseHealthIndicator.isReady}. */
export interface SseReadinessOptions {
  /**
   * How long the log may be `degraded`, in milliseconds, 0 or more; Infinity for ever. It is degraded while events
   * cannot be published, or do not come: the reader is stalled.
   *
   * @defaultValue 5_000
   */
  degradedMs?: number;
}

/**
 * The readiness of an instance for event streams, as a health indicator of `@nestjs/terminus`. Add it to the providers
 * of the module that imports `TerminusModule`.
 *
 * Ask it in a readiness check, not in a liveness check: a restart does not bring the log back, and breaks off every
 * stream.
 *
 * @example
 * ```ts
 * @Get('ready')
 * @HealthCheck()
 * ready() {
 *   return this.health.check([() => this.sse.isReady('sse')]);
 * }
 * ```
 */
@Injectable()
export class SseHealthIndicator {
  readonly #sse: SseService;
  readonly #health: HealthIndicatorService;

  /** @internal */
  constructor(
    @Inject(SseService) sse: SseService,
    @Inject(HealthIndicatorService) health: HealthIndicatorService,
  ) {
    this.#sse = sse;
    this.#health = health;
  }

  /**
   * Returns `down` while the app is closing its streams, from the beginning of `drain.delayMs` on; while the log is
   * down; and while it has been degraded for longer than `degradedMs`, as when its reader is stalled. Else `up`.
   *
   * The result has `log`, the state of the log, and if it is `down` a `reason`, as text for people. It may name the
   * engine: keep the route from the public.
   *
   * @param key - the name of the result
   * @throws SseError `options-invalid` for a `degradedMs` that is negative or no number
   */
  isReady<const Key extends string = 'sse'>(
    key: Key = 'sse' as Key,
    { degradedMs = 5_000 }: SseReadinessOptions = {},
  ): HealthIndicatorResult<Key> {
    if (!(degradedMs >= 0)) {
      throw new SseError('options-invalid', `degradedMs must be 0 or more, got ${String(degradedMs)}.`, {
        field: 'degradedMs',
      });
    }
    const indicator = this.#health.check(key);
    const reason = this.#reasonAgainst(degradedMs);
    const { state: log } = this.#sse.health;
    return reason === undefined ? indicator.up({ log }) : indicator.down({ log, reason });
  }

  #reasonAgainst(degradedMs: number): string | undefined {
    if (this.#sse.metrics.connections.isDraining) {
      return 'The app is closing its event streams.';
    }
    const { state, since, reason } = this.#sse.health;
    const isPatient = state === 'degraded' && Date.now() - since.getTime() <= degradedMs;
    return state === 'ready' || isPatient ? undefined : `The log is ${state}${reason ? `: ${reason}` : ''}.`;
  }
}
