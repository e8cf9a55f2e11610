import { Module } from '@nestjs/common';
import { memory, SseModule } from 'nestjs-event-stream';
import { redis } from 'nestjs-event-stream/redis';
import { ChatModule } from './chat/chat.module.js';
import { DashboardModule } from './dashboard/dashboard.module.js';
import { PageController } from './page/page.controller.js';
import { SseController } from './sse/sse.controller.js';
import { TabsController } from './tabs/tabs.controller.js';

const { REDIS_URL: url } = process.env;

@Module({
  imports: [
    // On Redis all instances have one log. Nothing else of the app differs.
    SseModule.forRoot({
      log: url ? redis({ url, prefix: 'sse-sample' }) : memory(),
      // So that one does not wait long for the end of an instance that was killed.
      runs: { leaseMs: 4_000 },
    }),
    DashboardModule,
    ChatModule,
  ],
  controllers: [SseController, TabsController, PageController],
})
export class AppModule {}
