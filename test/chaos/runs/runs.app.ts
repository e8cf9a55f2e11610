/** An instance of an app that streams answers, and does what a test asks of it. */
import 'reflect-metadata';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Body, Controller, Delete, Get, Module, Param, Post, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { RunEnd, RunHandOver } from 'nestjs-event-stream';
import { ConnectionRegistry } from '../../../lib/connection/index.js';
import { printWarnings } from '../complaints.js';
import { logOn } from '../engine.js';
import { printWhatIsOpen } from '../still-open.js';
import { isUnsaved, SILENCE_MS } from './history.js';
import type { Report, RunPlan } from './history.js';
import type { InstanceState, RunsApp } from './runs-instance.js';
import { formatOf, itemOf, tokenOfItem } from './tokens.js';

type Plain = Report extends infer R ? (R extends Report ? Omit<R, 'at'> : never) : never;

const LOOK_MS = 50;
const MAX_EVENTS = 10_000;

const { name, engine, reports, leaseMs } = JSON.parse(process.argv[2]!) as RunsApp;
let sources = 0;
const refused = new Set<string>();
printWarnings(process);

/** Written when this returns: a process that is killed has said all that it did. */
function report(what: Plain): void {
  appendFileSync(reports, `${JSON.stringify({ at: Date.now(), ...what })}\n`);
}

/** Keeps a plan for the instances that may take its run over. */
function keep(plan: RunPlan): void {
  writeFileSync(planFile(plan.id, plan.turn), JSON.stringify(plan));
}

/** The plan of a run that was handed over, by its items; of one that has none it is the last that was kept. */
async function planOf({ id, items }: RunHandOver): Promise<RunPlan> {
  const kept = [0, 1].filter((turn) => existsSync(planFile(id, turn)));
  const plans = kept.map((turn) => JSON.parse(readFileSync(planFile(id, turn), 'utf8')) as RunPlan);
  const [first] = await items();
  return first === undefined ? plans.at(-1)! : plans[tokenOfItem(plans[0]!.format, first).turn]!;
}

const planFile = (id: string, turn: number) => join(dirname(reports), `${id}.${turn}.json`);

async function* answer(plan: RunPlan, signal: AbortSignal, made: number): AsyncGenerator {
  sources += 1;
  const { id, turn, tokens, pausesMs, silentAt, failsAt, format } = plan;
  const producer = `${name}#${sources}`;
  report({ kind: 'source', producer, id, turn });
  let how: 'done' | 'failed' | 'aborted' = 'aborted';
  try {
    for (let index = made; index < tokens; index += 1) {
      const waitMs = index === silentAt ? SILENCE_MS : pausesMs[index % pausesMs.length]!;
      if (waitMs > 0) {
        await pause(waitMs, undefined, { signal });
      }
      if (index === failsAt) {
        how = 'failed';
        throw new Error('The model has failed.');
      }
      report({ kind: 'token', producer, index });
      yield itemOf(format, { run: id, turn, producer, index });
    }
    how = 'done';
  } finally {
    report({ kind: 'over', producer, how });
  }
}

@Controller()
class RunsController {
  constructor(private readonly sse: SseService) {
    sse.runs.onEnd((end) => this.#save(end));
    sse.runs.onHandOver(async (run) => this.#start(await planOf(run)));
  }

  @Get('state')
  state(): InstanceState {
    return { connections: registry.size, deadlines: registry.wheel.size, health: this.sse.health.state };
  }

  @Post('runs/:id')
  async ask(@Param('id') id: string, @Body() plan: RunPlan, @Res() res: object) {
    keep(plan);
    await this.#start(plan);
    await this.sse.runs.attach(res, id, { owner: ownerOf(id) });
  }

  @Get('runs/:id')
  async resume(@Param('id') id: string, @Res() res: object) {
    await this.sse.runs.attach(res, id, { owner: ownerOf(id) });
  }

  @Delete('runs/:id')
  async stop(@Param('id') id: string) {
    return { wasLive: await this.sse.runs.stop(id, { owner: ownerOf(id) }) };
  }

  @Get('runs/:id/status')
  async status(@Param('id') id: string) {
    return (await this.sse.runs.status(id, { owner: ownerOf(id) })) ?? {};
  }

  #start(plan: RunPlan): Promise<unknown> {
    const { id, format, onDisconnect, orphanMs, onShutdown } = plan;
    return this.sse.runs.start(id, ({ signal, recorded }) => answer(plan, signal, recorded.length), {
      format: formatOf(format),
      owner: ownerOf(id),
      onDisconnect,
      orphanMs,
      onShutdown,
    });
  }

  async #save(end: RunEnd): Promise<void> {
    const { id, key, reason, events, bytes } = end;
    const items = await end.items();
    if (isUnsaved(id) && !refused.has(key)) {
      refused.add(key);
      report({ kind: 'refusal', key });
      throw new Error('The answer could not be saved.');
    }
    report({ kind: 'end', end: { id, key, reason, events, bytes, items } });
  }
}

const ownerOf = (id: string) => `owner of ${id}`;

@Module({
  imports: [
    SseModule.forRoot({
      log: logOn(engine, { maxEvents: MAX_EVENTS }),
      runs: { leaseMs },
      retryMs: 10,
      // For every second page.
      compression: 'stream',
      drain: { spreadMs: 100 },
    }),
  ],
  controllers: [RunsController],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
// What the package keeps to itself.
const registry = app.get(ConnectionRegistry, { strict: false });
let lookedAt = Date.now();
const looking = setInterval(() => {
  const ms = Date.now() - lookedAt;
  lookedAt += ms;
  if (ms > leaseMs / 3) {
    report({ kind: 'stall', ms });
  }
}, LOOK_MS);
looking.unref();
await app.listen(0, '127.0.0.1');
console.log(`listening on ${((app.getHttpServer() as Server).address() as AddressInfo).port}`);
printWhatIsOpen(process);
// Nothing ends it but that nothing is left to do: what stays open keeps the process alive, and is seen.
process.once('SIGTERM', () => void app.close());
