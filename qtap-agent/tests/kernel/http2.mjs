// HTTP/2 without TLS, by prior knowledge, with Node's `http2`: `http2.mjs MODE ARGUMENTS…`. Prints what the test needs, one value per line.
import http2 from 'node:http2';
import readline from 'node:readline';

const modes = {
  // A server that echoes the body and its id. Ends when its input does.
  serve() {
    const server = http2.createServer({ settings: { maxConcurrentStreams: 100 } });
    server.on('stream', (stream, headers) => {
      const parts = [];
      stream.on('error', () => {});
      stream.on('data', (part) => parts.push(part));
      stream.on('end', () => {
        const id = headers['x-id'] ?? '';
        stream.respond({ ':status': 200, 'content-type': 'text/plain', 'x-id': id, 'x-served-by': 'node' });
        stream.end(`echo ${id} ${Buffer.concat(parts)}`);
      });
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    process.stdin.resume().on('end', () => process.exit());
  },

  // `count` requests over one connection, a hundred at a time.
  async many(port, count) {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    let next = 0;
    const worker = async () => {
      while (next < Number(count)) {
        const id = `n${next++}`;
        const answer = await ask(session, `/echo/${id}`, id, `said ${id}`);
        if (answer !== `echo ${id} said ${id}`) throw new Error(`${id}: ${answer}`);
      }
    };
    await Promise.all(Array.from({ length: 100 }, worker));
    await new Promise((closed) => session.close(closed));
    console.log(`${count} answered`);
  },

  // `count` requests at once over one connection, all cancelled when the first responses arrive.
  async cancelled(port, count) {
    const session = http2.connect(`http://127.0.0.1:${port}`, { peerMaxConcurrentStreams: Number(count) });
    await new Promise((connected) => session.on('remoteSettings', connected));
    const streams = Array.from({ length: Number(count) }, (_, n) => session.request({ ':path': `/cancelled/${n}` }));
    const closed = streams.map((stream) => new Promise((gone) => stream.resume().on('error', () => {}).on('close', gone)));
    await new Promise((answered) => streams[0].on('response', answered));
    streams.forEach((stream) => stream.close(http2.constants.NGHTTP2_CANCEL));
    await Promise.all(closed);
    console.log(await ask(session, '/after', 'a', 'said'));
    session.close();
  },

  // A server that answers a moment later, the first request a little before the others.
  late() {
    const options = { settings: { maxConcurrentStreams: 5000 }, streamResetBurst: 5000, streamResetRate: 5000 };
    const server = http2.createServer(options);
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {}).resume();
      const moment = headers[':path'].endsWith('/0') ? 100 : 103;
      setTimeout(() => {
        if (stream.destroyed) return;
        stream.respond({ ':status': 200 });
        stream.end('late');
      }, moment);
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    process.stdin.resume().on('end', () => process.exit());
  },

  // One connection that stays open, with one request per line of input.
  async kept(port) {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    await new Promise((connected) => session.on('remoteSettings', connected));
    console.log('connected');
    for await (const line of readline.createInterface({ input: process.stdin })) {
      console.log(await ask(session, `/kept/${line}`, line, `kept ${line}`));
    }
    session.close();
  },
};

function ask(session, path, id, body) {
  return new Promise((resolve, reject) => {
    const headers = { ':method': 'POST', ':path': path, 'x-id': id, 'x-client': 'node', 'content-type': 'text/plain' };
    const stream = session.request(headers);
    const parts = [];
    stream.on('error', reject);
    stream.on('data', (part) => parts.push(part));
    stream.on('end', () => resolve(Buffer.concat(parts).toString()));
    stream.end(body);
  });
}

await modes[process.argv[2]](...process.argv.slice(3));
