"""moto's S3 server on a port that it chooses and prints, with the bucket `artifacts`. Ends when its input is closed."""

import sys
import urllib.request

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/artifacts", method="PUT"))
print(port, flush=True)
sys.stdin.read()
server.stop()
