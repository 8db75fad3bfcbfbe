// Publishes three events at once with the publisher of docs/examples and closes it: then nothing keeps the program alive. Prints the ids of
// those that the broker has, and why it has not the others.

import { Publisher } from './publisher.mjs';

const events = ['one', 'two', 'three'].map((id) => ({
  id,
  source: '/shop',
  type: 'order.paid',
  time: '2026-01-02T03:04:05Z',
  data: { order: { number: id, customer: 'u-1', total: 1 } },
}));
const publisher = new Publisher(process.env.AMQP_URL, process.env.SLUICE_EXCHANGE);
const outcomes = await Promise.allSettled(events.map((event) => publisher.publish(event)));
await publisher.close();
for (const { reason } of outcomes.filter(({ status }) => status === 'rejected')) console.error(reason.message);
console.log(events.filter((_, number) => outcomes[number].status === 'fulfilled').map(({ id }) => id).join(' '));
