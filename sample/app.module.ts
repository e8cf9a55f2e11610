import { Module } from '@nestjs/common';
import { memory, SseModule } from 'nestjs-event-stream';
import { postgres } from 'nestjs-event-stream/postgres';
import { redis } from 'nestjs-event-stream/redis';
import { ChatModule } from './chat/chat.module.js';
import { DashboardModule } from './dashboard/dashboard.module.js';
import { OrdersModule } from './orders/orders.module.js';
import { PageController } from './page/page.controller.js';
import { SseController } from './sse/sse.controller.js';
import { TabsController } from './tabs/tabs.controller.js';

const { POSTGRES_URL, REDIS_URL } = process.env;

// In a server all instances have one log. Nothing else of the app differs.
function log() {
  if (POSTGRES_URL) {
    return postgres({
      url: POSTGRES_URL,
      schema: 'sse_sample',
      // All start at once, beside PostgreSQL itself, on one machine.
      startTimeoutMs: 25_000,
    });
  }
  return REDIS_URL ? redis({ url: REDIS_URL, prefix: 'sse-sample' }) : memory();
}

@Module({
  imports: [
    SseModule.forRoot({
      log: log(),
      // So that one does not wait long for the end of an instance that was killed.
      runs: { leaseMs: 4_000 },
    }),
    DashboardModule,
    ChatModule,
    ...(POSTGRES_URL ? [OrdersModule.forDatabase(POSTGRES_URL)] : []),
  ],
  controllers: [SseController, TabsController, PageController],
})
export class AppModule {}
