import {
  BadRequestException,
  Body,
  Controller,
  HttpCode,
  Post,
} from '@nestjs/common';
import { type Order, OrdersService } from './orders.service.js';

const MAX_LENGTH = 40;

@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post()
  @HttpCode(200)
  place(@Body() body: Record<string, unknown> | undefined): Promise<Order> {
    const { item, end } = body ?? {};
    if (typeof item !== 'string' || !item || item.length > MAX_LENGTH) {
      throw new BadRequestException(
        `item must be a text of 1 to ${MAX_LENGTH} characters.`,
      );
    }
    if (end !== 'commit' && end !== 'rollback') {
      throw new BadRequestException('end must be commit or rollback.');
    }
    return this.orders.place(item, end);
  }
}
