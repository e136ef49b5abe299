// A server that starts as the file mode.txt says: "fail" ends at once, "hang" never
// listens, any other serves.
'use strict';
const { readFileSync } = require('node:fs');
const mode = readFileSync('mode.txt', 'utf8').trim();

console.log(`mode ${mode}`);
if (mode === 'fail') process.exit(3);
else if (mode === 'hang') setInterval(() => {}, 60000);
else require('node:http').createServer((req, res) => res.end(mode)).listen(Number(process.env.PORT), '127.0.0.1');
