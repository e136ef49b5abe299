const fs = require('fs');
const app = require('express')();

const release = fs.readFileSync('RELEASE', 'utf8').trim();
app.get('/', (req, res) => {
  setTimeout(() => res.send(`hello from release=${release} pid=${process.pid}\n`), Number(req.query.ms));
});
app.listen(process.env.PORT, process.env.HOST);
