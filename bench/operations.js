// The child of bench/operations.go: how quick a Node.js process is with its parent,
// by muster's client or (BENCH=own) by process.send alone. Prints one line of JSON.
'use strict';
const { writeFileSync, renameSync } = require('fs');

const own = process.env.BENCH === 'own';
const [rounds, burst] = [Number(process.env.ROUNDS), Number(process.env.BURST)];

// byItself is what a program writes that has process.send only: a map of what is asked.
function byItself() {
  const asked = new Map();
  let last = 0;
  process.on('message', (m) => {
    asked.get(m.id)(m.body);
    asked.delete(m.id);
  });
  return {
    ask: (body) => new Promise((resolve) => {
      asked.set(++last, resolve);
      process.send({ op: 'ping', id: last, body });
    }),
    send: (body) => process.send({ op: 'note', body }),
  };
}

function byMuster() {
  const muster = require(process.env.CLIENT).open();
  return { ask: (body) => muster.request('', 'ping', body), send: (body) => muster.send('', 'note', body) };
}

const now = () => Number(process.hrtime.bigint()) / 1e3; // µs

async function main() {
  const end = own ? byItself() : byMuster();
  for (let i = 0; i < 2000; i++) await end.ask({ n: i });
  let began = now();
  for (let i = 0; i < rounds; i++) await end.ask({ n: i });
  const trip = (now() - began) / rounds;
  began = now();
  await Promise.all(Array.from({ length: 64 }, async () => {
    for (let i = 0; i < rounds / 64; i++) await end.ask({ n: i });
  }));
  const asked = rounds / (now() - began) * 1e6;
  began = now();
  for (let sent = 0; sent < burst; sent += 500) { // as a program that waits now and then
    for (let i = 0; i < 500; i++) end.send({ n: i });
    await end.ask(null);
  }
  const told = burst / (now() - began) * 1e6;
  writeFileSync(process.env.OUT + '.new', JSON.stringify({ trip, asked, told }));
  renameSync(process.env.OUT + '.new', process.env.OUT);
  setInterval(() => {}, 1e6);
}

if (own && !process.send) {
  const child = require('child_process').fork(__filename);
  child.on('message', (m) => { if (m.id) child.send({ id: m.id, body: m.body }); });
} else main();
