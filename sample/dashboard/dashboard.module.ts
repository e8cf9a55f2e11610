import { Module } from '@nestjs/common';
import { DashboardController } from './dashboard.controller.js';
import { LoadService } from './load.service.js';
import { MetricsService } from './metrics.service.js';

@Module({
  controllers: [DashboardController],
  providers: [MetricsService, LoadService],
})
export class DashboardModule {}
