import { type DynamicModule, Module } from '@nestjs/common';
import { OrdersController } from './orders.controller.js';
import { DATABASE_URL, OrdersService } from './orders.service.js';

/** Orders in a database. Their events can be part of a transaction if the log is in the same one. */
@Module({})
export class OrdersModule {
  static forDatabase(url: string): DynamicModule {
    return {
      module: OrdersModule,
      controllers: [OrdersController],
      providers: [{ provide: DATABASE_URL, useValue: url }, OrdersService],
    };
  }
}
