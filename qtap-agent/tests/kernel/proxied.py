"""Clients that use an HTTP proxy: PROXY-URL and the URLs. Each client requests each URL, with its own name as the query."""

import asyncio
import ssl
import sys
import urllib.request

import aiohttp
import httpx
import requests

proxy, urls = sys.argv[1], sys.argv[2:]
requests.packages.urllib3.disable_warnings()

session = requests.Session()
session.verify = session.trust_env = False
session.proxies = {"http": proxy, "https": proxy}
for url in urls:
    for query in ["?requests", "?again"]:
        assert session.get(url + query).status_code == 200
session.close()

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
handlers = [urllib.request.ProxyHandler({"http": proxy, "https": proxy}), urllib.request.HTTPSHandler(context=context)]
for url in urls:
    with urllib.request.build_opener(*handlers).open(url + "?urllib") as answer:
        answer.read()


async def through_memory():
    async with aiohttp.ClientSession() as client:
        for url in urls:
            async with client.get(url + "?aiohttp", proxy=proxy, ssl=False) as answer:
                await answer.read()
    async with httpx.AsyncClient(proxy=proxy, verify=False, trust_env=False) as client:
        for url in urls:
            assert (await client.get(url + "?httpx")).status_code == 200


asyncio.run(through_memory())
