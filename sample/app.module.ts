import { Module } from '@nestjs/common';
import { SseModule } from 'nestjs-event-stream';
import { DashboardModule } from './dashboard/dashboard.module.js';
import { PageController } from './page/page.controller.js';
import { SseController } from './sse/sse.controller.js';

@Module({
  imports: [SseModule.forRoot(), DashboardModule],
  controllers: [SseController, PageController],
})
export class AppModule {}
