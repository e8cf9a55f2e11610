import { Controller, Get, Param, Query, Res, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Connection, SseConnection, SseModule, SseService, topic } from 'nestjs-event-stream';
import type { SseModuleOptions, SsePresenceChange } from 'nestjs-event-stream';
import { map } from 'rxjs';
import type { Platform } from '../../support/apps/platforms.js';

/** Rooms whose members name themselves in the URL, in both endpoint styles. */
@Controller('rooms/:room')
export class PresenceController {
  constructor(private readonly sse: SseService) {}

  @Get('connect')
  connect(@Param('room') room: string, @Query('id') id: string, @Res() res: object): void {
    this.#enter(this.sse.connect(res), room, id);
  }

  @Sse('sse')
  stream(@Param('room') room: string, @Query('id') id: string, @Connection() connection: SseConnection) {
    return this.#enter(connection, room, id);
  }

  @Sse('people')
  people(@Param('room') room: string) {
    return this.sse
      .presence(topic`rooms.${room}`)
      .changes()
      .pipe(map((change) => ({ data: change })));
  }

  #enter(connection: SseConnection, room: string, id: string) {
    return connection.follow(topic`rooms.${room}`, { presence: { id, data: { name: id.toUpperCase() } } });
  }
}

export interface PresenceApp {
  readonly app: INestApplication;
  readonly sse: SseService;
  /** The ids of the members of a room, as this instance knows them, in their order. */
  idsOf(room: string): Promise<string[]>;
}

export async function createPresenceApp(
  platform: Platform,
  options: SseModuleOptions = {},
): Promise<PresenceApp> {
  const app = await platform.create({
    imports: [SseModule.forRoot({ heartbeatMs: false, ...options })],
    controllers: [PresenceController],
  });
  const sse = app.get(SseService);
  return {
    app,
    sse,
    idsOf: async (room) => {
      const { members } = await sse.presence(topic`rooms.${room}`).list();
      return members.map(({ id }) => id).sort();
    },
  };
}

/**
 * What an instance tells of a room: each change as one line, such as `+anna -ben =3`, and `stale` and `current`, apart,
 * since a busy machine may be late with a beat.
 */
export function changesOf({ sse }: PresenceApp, room: string): { lines: string[]; states: string[] } {
  const told = { lines: [] as string[], states: [] as string[] };
  sse
    .presence(topic`rooms.${room}`)
    .changes()
    .subscribe((change) => {
      const signed = signedOf(change);
      if (signed.length > 0) {
        told.lines.push([...signed, `=${change.count}`].join(' '));
      } else {
        told.states.push(change.isCurrent ? 'current' : 'stale');
      }
    });
  return told;
}

function signedOf({ joined, updated, left }: SsePresenceChange): string[] {
  return [
    ...joined.map(({ id }) => `+${id}`),
    ...updated.map(({ id }) => `~${id}`),
    ...left.map(({ id }) => `-${id}`),
  ].sort();
}
