// Publishes one event to Sluice with publisher.mjs, in the plain form. Prints its id once the broker has it.

import { randomUUID } from 'node:crypto';
import { Publisher } from './publisher.mjs';

const paid = {
  id: randomUUID(), // made once, where the thing happens, and kept with it
  source: '/shop',
  type: 'order.paid',
  time: new Date().toISOString(),
  data: { order: { number: 'A-17', customer: 'u-1', total: 59.9 } },
};
const publisher = new Publisher(process.env.AMQP_URL, process.env.SLUICE_EXCHANGE);
await publisher.publish(paid);
await publisher.close();
console.log(paid.id);
