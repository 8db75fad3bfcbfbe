// Publishes events over HTTP with the CloudEvents SDK, by its messages and by its own transport. Prints the id of each.

import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from 'cloudevents';

const DATA = { order: { number: 'A-17', total: 59.9 } };
const URL = process.env.EVENTS_URL;

const make = (id, more) => new CloudEvent({ id, source: '/shop', type: 'order.paid', time: '2026-01-02T03:04:05.500Z', ...more });

for (const mode of ['binary', 'structured']) {
  for (const data of [DATA, undefined]) {
    const id = `javascript/${mode}${data ? '' : '/empty'}`;
    const more = data ? { data, datacontenttype: 'application/json', subject: 'A-17', attempt: 3, urgent: true } : {};
    const { headers, body } = HTTP[mode](make(id, more));
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(URL, { method: 'POST', headers, body: text });
    if (response.status !== 202) throw new Error(`${id}: ${response.status} ${await response.text()}`);
    console.log(id);
  }
}
for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
  const id = `javascript/emitter.${mode}`;
  const answer = await emitterFor(httpTransport(URL), { mode })(make(id, { data: DATA }));
  if (JSON.parse(answer.body).results[0].published !== true) throw new Error(`${id}: ${answer.body}`);
  console.log(id);
}
