// Publishes an event with every binding of the CloudEvents SDK. Prints the id of each, which names the binding.

import amqp from 'amqplib';
import { CloudEvent, HTTP, Kafka, MQTT } from 'cloudevents';

const DATA = { order: { number: 'A-17', total: 59.9 } };

// As whoever uses a binding puts its message onto AMQP: content type and headers.
const BINDINGS = {
  HTTP: [HTTP, ({ headers }) => [headers['content-type'], headers]],
  'HTTP-headers': [HTTP, ({ headers }) => [undefined, headers]],
  Kafka: [Kafka, ({ headers }) => [undefined, headers]],
  MQTT: [MQTT, (message) => [message.PUBLISH['Content Type'], message.headers]],
};

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createConfirmChannel();
for (const [binding, [module, parts]] of Object.entries(BINDINGS)) {
  for (const mode of ['binary', 'structured']) {
    for (const data of [DATA, undefined]) {
      const id = `javascript/${binding}.${mode}${data ? '' : '/empty'}`;
      const more = data ? { data, datacontenttype: 'application/json', subject: 'A-17', attempt: 3, urgent: true } : {};
      const event = new CloudEvent({ id, source: '/shop', type: 'order.paid', time: '2026-01-02T03:04:05.500Z', ...more });
      const message = module[mode](event);
      const [contentType, headers] = parts(message);
      const body = typeof message.body === 'string' ? message.body : JSON.stringify(message.body) ?? '';
      channel.publish(process.env.SLUICE_EXCHANGE, 'order.paid', Buffer.from(body), { contentType, headers, mandatory: true });
      console.log(id);
    }
  }
}
await channel.waitForConfirms();
await connection.close();
