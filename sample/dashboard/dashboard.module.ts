import { Module } from '@nestjs/common';
import { CommandsService } from './commands.service.js';
import { DashboardController } from './dashboard.controller.js';
import { LoadService } from './load.service.js';
import { MetricsService } from './metrics.service.js';

@Module({
  controllers: [DashboardController],
  providers: [CommandsService, MetricsService, LoadService],
  exports: [CommandsService],
})
export class DashboardModule {}
