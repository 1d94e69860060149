// A Node client that uses an HTTP proxy as proxy agents do: PROXY-URL and the URLs. For https it opens a tunnel, and sends two requests on it in turn.
import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';

const [proxy, ...urls] = process.argv.slice(2);
const { hostname: host, port, username, password } = new URL(proxy);
const headers = { 'Proxy-Authorization': `Basic ${btoa(`${username}:${password}`)}` };

const asked = (request) =>
  new Promise((resolve, reject) => {
    request.on('response', (response) => {
      response.resume();
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(response.statusCode)));
    });
    request.on('error', reject);
  });

const tunnel = (authority) =>
  new Promise((resolve, reject) => {
    const request = http.request({ host, port, method: 'CONNECT', path: authority, headers: { Host: authority, ...headers } });
    request.on('connect', (response, socket) => (response.statusCode === 200 ? resolve(socket) : reject(response.statusCode)));
    request.on('error', reject);
    request.end();
  });

for (const url of urls) {
  if (url.startsWith('http:')) {
    await asked(http.get({ host, port, path: `${url}?node`, headers: { Host: new URL(url).host, ...headers } }));
    continue;
  }
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  const socket = await tunnel(new URL(url).host);
  agent.createConnection = () => tls.connect({ socket, rejectUnauthorized: false });
  for (const query of ['?node', '?again']) await asked(https.get(url + query, { agent }));
  agent.destroy();
}
