"""A token endpoint that nobody of the agent's own code reads for: RFC 6749 and 7523, assertions verified by joserfc.

The first argument is a JSON object, a line on standard input another one that takes its place (answered {"ready": true}):
  client       [id, secret] it wants, by HTTP Basic or in the form, not both
  user         [name, password] of the password grant
  keys         {"RS256": PEM, "ES256": PEM, "HS256": secret} that assertions are verified with; issuer, subject, audience are as "claims" says
  expires_in   seconds of a token's life; null: it is not said
  answers      list, one per request, then tokens: {"status": 400, "body": {…}}, {"stall": 3}, {"text": "…"}
  echo         failures repeat the request

Prints its port, then a line per request: the form, whether it had a header, and the token it gave (token-1, token-2 …).
"""

import base64
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote_plus

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

PLAN = json.loads(sys.argv[1])
ANSWERS = list(PLAN.get("answers", []))
LOCK = threading.Lock()
COUNT = [0]
SEEN_IDS = set()


def tell(**line):
    with LOCK:
        print(json.dumps(line), flush=True)


class Refused(Exception):
    pass


def client_of(headers, form):
    """RFC 6749 §2.3.1: credentials in the header or in the form, never in both."""
    header = headers.get("Authorization")
    if header is None:
        return form.get("client_id"), form.get("client_secret")
    if "client_secret" in form:
        raise Refused("invalid_request")
    scheme, _, value = header.partition(" ")
    if scheme != "Basic":
        raise Refused("invalid_client")
    client, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    return unquote_plus(client), unquote_plus(secret)


def verify(assertion):
    """RFC 7523 §3."""
    head = json.loads(base64.urlsafe_b64decode(assertion.split(".")[0] + "=="))
    key = PLAN["keys"][head["alg"]]
    kind = {"RS256": RSAKey, "ES256": ECKey, "HS256": OctKey}[head["alg"]]
    token = jwt.decode(assertion, kind.import_key(key), algorithms=[head["alg"]])
    claims, now = token.claims, time.time()
    for name, value in PLAN["claims"].items():
        if claims[name] != value:
            raise Refused("invalid_grant")
    if not (now - 30 < claims["iat"] <= now + 1 and now < claims["exp"] < now + 3600) or claims["jti"] in SEEN_IDS:
        raise Refused("invalid_grant")
    SEEN_IDS.add(claims["jti"])
    return head


def check(headers, form, line):
    grant = form.get("grant_type")
    client = client_of(headers, form)
    if "client" in PLAN and list(client) != PLAN["client"]:
        raise Refused("invalid_client")
    if grant == "password":
        if [form.get("username"), form.get("password")] != PLAN.get("user"):
            raise Refused("invalid_grant")
    elif grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
        line["head"] = verify(form["assertion"])
    elif grant != "client_credentials":
        raise Refused("unsupported_grant_type")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        line = {"form": form, "header": "Authorization" in self.headers, "path": self.path}
        with LOCK:
            answer = ANSWERS.pop(0) if ANSWERS else {}
        time.sleep(answer.get("stall", 0))
        if "text" in answer:
            tell(**line)
            return self.answer(answer.get("status", 200), answer["text"].encode())
        if "body" in answer:
            said = dict(answer["body"])
            if PLAN.get("echo"):
                said["error_description"] = body + " " + str(self.headers)
            tell(**line)
            return self.answer(answer["status"], said)
        try:
            if len(form) != len(pairs) or self.headers["Content-Type"] != "application/x-www-form-urlencoded":
                raise Refused("invalid_request")
            check(self.headers, form, line)
        except Refused as refused:
            tell(refused=str(refused), **line)
            return self.answer(401 if str(refused) == "invalid_client" else 400, {"error": str(refused)})
        with LOCK:
            COUNT[0] += 1
            token = f"token-{COUNT[0]}"
        tell(token=token, **line)
        out = {"access_token": token, "token_type": PLAN.get("token_type", "Bearer")}
        if PLAN.get("expires_in", 3600) is not None:
            out["expires_in"] = PLAN.get("expires_in", 3600)
        return self.answer(200, out)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tell(http=server.server_port, grpc=0)
    for plan in sys.stdin:  # ends when the test that started it closes the pipe or dies
        if plan.strip():
            with LOCK:
                PLAN.clear()
                PLAN.update(json.loads(plan))
                ANSWERS[:] = PLAN.get("answers", [])
        tell(ready=True)


main()
