import { Module } from '@nestjs/common';
import { DashboardModule } from '../dashboard/dashboard.module.js';
import { ChatController } from './chat.controller.js';
import { CountsController } from './counts.controller.js';
import { CountsService } from './counts.service.js';
import { ModelService } from './model.service.js';
import { UsualController } from './usual.controller.js';

@Module({
  // For the page's buttons.
  imports: [DashboardModule],
  controllers: [ChatController, UsualController, CountsController],
  providers: [ModelService, CountsService],
})
export class ChatModule {}
