// Prints the settings of its app whenever they change; test/prop/settings.go in Node.js.
'use strict';
const muster = require('../../../../clients/node/muster.js').open();

muster.on('config', (settings) => console.log('config', JSON.stringify(settings)));
muster.handle('order', () => muster.reload({ selector: 'nosuch' }).then(() => '', (error) => error.code));
muster.handle('role', () => process.env.MUSTER_ROLE);
setInterval(() => {}, 60000);
muster.hello().then(() => muster.ready());
