// A program that is its own primary. It prints what it saw as JSON.
'use strict';
const cluster = require('cluster');
const net = require('net');
const http = require('http');
const { once } = require('events');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const get = (port) => new Promise((resolve) => {
  http.get({ port, agent: false }, (response) => {
    let text = '';
    response.on('data', (data) => { text += data; }).on('end', () => resolve(text));
  }).on('error', (error) => resolve(error.code));
});

async function main() {
  const saw = { options: process.env.NODE_OPTIONS || '', events: [] };
  for (const event of ['setup', 'fork', 'online', 'listening', 'disconnect', 'exit']) {
    cluster.on(event, (worker, ...args) => {
      if (event === 'setup') saw.events.push('setup');
      else if (event === 'exit') saw.events.push(`exit ${worker.id} ${args} ${worker.exitedAfterDisconnect}`);
      else saw.events.push(`${event} ${worker.id}`);
    });
  }
  cluster.setupPrimary({ args: ['first'], silent: true });
  const one = cluster.fork({ COLOUR: 'blue' });
  const early = [typeof one.id, one.isConnected(), one.isDead(), cluster.workers[1] === one];
  saw.early = early.join();
  let text = '';
  one.process.stdout.on('data', (data) => { text += data; });
  const [{ port }] = await once(one, 'listening');
  saw.pid = one.process.pid > 0;
  saw.answer = await get(port);

  const answered = once(one, 'message');
  one.send({ question: 'a\n"ü' });
  saw.message = (await answered)[0];
  const server = net.createServer((socket) => one.send('socket', socket)).listen(0);
  await once(server, 'listening');
  const client = net.connect(server.address().port);
  saw.socket = String((await once(client, 'data'))[0]);
  client.destroy();
  server.close();
  saw.output = text;

  one.disconnect();
  saw.gone = !(1 in cluster.workers);
  await once(one, 'exit');

  cluster.settings.args = ['second'];
  const two = cluster.fork();
  await once(two, 'listening');
  two.kill('SIGKILL');
  await once(two, 'exit');
  saw.dead = [two.isDead(), two.isConnected()].join();

  cluster.settings.exec = '--fail';
  const three = cluster.fork();
  saw.failed = (await once(three, 'error'))[0].code;
  cluster.settings.exec = process.argv[1];
  const four = cluster.fork();
  await once(four, 'listening');
  await new Promise((resolve) => { cluster.disconnect(resolve); });
  await once(four, 'exit');
  await wait(10);
  saw.left = Object.keys(cluster.workers).length;
  process.stdout.write(JSON.stringify(saw));
} // and ends by itself, as there are no forks

function worker() {
  console.log(`${cluster.worker.id} ${process.argv[2]} ${process.env.COLOUR}`);
  process.on('message', (message, socket) => {
    if (message === 'socket') socket.end('from the fork');
    else process.send({ answer: message.question, id: cluster.worker.id });
  });
  http.createServer((request, response) => response.end(`pid ${process.pid}`)).listen(0);
}

if (cluster.isPrimary) main();
else worker();
