"""A server of `text/event-stream` (aiohttp) on a port that it chooses and prints.

`/events?count=N&every=SECONDS&large=BYTES` sends N events, each with its number and the time; the third has that many bytes of
data. Ends when its input is closed.
"""

import asyncio
import sys
import threading

from aiohttp import web


async def events(request):
    count, every = int(request.query["count"]), float(request.query["every"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    for number in range(count):
        data = "x" * int(request.query["large"]) if number == 2 else f"grüße {number}"
        await response.write(f"id: {number}\nevent: tick\ndata: {data}\n\n".encode())
        await asyncio.sleep(every)
    await response.write_eof()
    return response


async def main():
    app = web.Application()
    app.router.add_get("/events", events)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    await ended.wait()
    await runner.cleanup()


asyncio.run(main())
