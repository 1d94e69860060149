"""Makes Firefox send the requests of a plan: `firefox.py PROGRAM VERSION PLAN`, with its own profile in the plan's folder. Uses Marionette, its automation protocol.

Each line of the plan: `GET URL` or `PUT URL FILE`.
"""

import base64
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

# Turns off all requests that the plan does not have.
SETTINGS = """user_pref("marionette.port", PORT);
user_pref("network.http.http2.enabled", HTTP2);
user_pref("network.http.http3.enable", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("browser.startup.page", 0);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
"""
ASKS = """let [asks, done] = arguments;
(async () => {
  for (const [method, url, body] of asks) {
    const data = body === null ? undefined : Uint8Array.from(atob(body), (one) => one.charCodeAt(0));
    const answer = await fetch(url, { method, body: data, cache: "no-store" });
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(url + " " + answer.status);
  }
})().then(() => done("asked"), (error) => done(String(error)));"""


class Marionette:
    def __init__(self, port):
        for _ in range(600):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.1)
        self.file = self.socket.makefile("rb")
        self.number = 0
        self.heard()

    def heard(self):
        length = b""
        while (byte := self.file.read(1)) != b":":
            length += byte
        return json.loads(self.file.read(int(length)))

    def tell(self, command, **parameters):
        self.number += 1
        told = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(told), told))
        _, _, error, result = self.heard()
        assert error is None, error
        return result


def main(program, version, plan):
    asks = []
    for line in plan.read_text().splitlines():
        method, url, *file = line.split(" ")
        asks.append((method, url, base64.b64encode(pathlib.Path(file[0]).read_bytes()).decode() if file else None))
    with socket.socket() as free, tempfile.TemporaryDirectory(dir=plan.parent) as profile:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = SETTINGS.replace("PORT", str(port)).replace("HTTP2", "true" if version == "2" else "false")
        pathlib.Path(profile, "user.js").write_text(settings)
        words = [program, "--headless", "--no-remote", "--marionette", "--profile", profile]
        browser = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": profile, "PATH": "/usr/bin:/bin"})
        try:
            marionette = Marionette(port)
            marionette.tell("WebDriver:NewSession", acceptInsecureCerts=True)
            marionette.tell("WebDriver:SetTimeouts", script=60_000)
            # A page of the same origin, so that fetch is allowed.
            marionette.tell("WebDriver:Navigate", url=asks[0][1])
            said = marionette.tell("WebDriver:ExecuteAsyncScript", script=ASKS, args=[asks[1:]])
            assert said["value"] == "asked", said
            marionette.tell("Marionette:Quit")
        except BaseException:
            browser.kill()
            raise
        finally:
            browser.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve())
