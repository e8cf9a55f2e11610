import { Module } from '@nestjs/common';
import { DashboardModule } from '../dashboard/dashboard.module.js';
import { CountsController } from './counts.controller.js';
import { CountsService } from './counts.service.js';
import { ModelService } from './model.service.js';
import { UsualController } from './usual.controller.js';

@Module({
  // For the page's buttons.
  imports: [DashboardModule],
  controllers: [UsualController, CountsController],
  providers: [ModelService, CountsService],
})
export class ChatModule {}
