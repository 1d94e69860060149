"""A server with the interfaces of language models, and a program that calls it.

`serve CERT KEY` listens on two ports that it chooses, plain and TLS, and prints them. Chat completions, whole or streamed as server-sent
events with the usage in the last chunk; Anthropic's messages, streamed; Ollama's chat, one document per line; anything else is echoed. A response that
is not streamed is compressed where the client accepts that. Ends when its input is closed.

`ask URL…` makes all of these calls to each URL (with requests). `asked` prints the request body of a streamed chat.
"""

import gzip
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHAT = {
    "model": "gpt-4o",
    "temperature": 0.25,
    "max_tokens": 64,
    "seed": 7,
    "stop": ["END"],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My card is 4111 1111 1111 1111."},
    ],
}
CHAT_STREAMED = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
MESSAGES = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 128,
    "system": "Be kind.",
    "messages": [{"role": "user", "content": "Weather in Rome?"}],
    "stream": True,
}
OLLAMA = {
    "model": "llama3.2",
    "options": {"temperature": 0.5, "num_predict": 32},
    "messages": [{"role": "user", "content": "Hi"}],
}

CHAT_USAGE = {
    "prompt_tokens": 21,
    "completion_tokens": 3,
    "total_tokens": 24,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def chat_whole():
    message = {"role": "assistant", "content": "Noted."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": CHAT_USAGE,
    }


def chat_events():
    def chunk(choices, usage=None):
        head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06"}
        return f"data: {json.dumps({**head, 'choices': choices, 'usage': usage})}\n\n"

    def delta(what, reason=None):
        return [{"index": 0, "delta": what, "finish_reason": reason}]

    yield chunk(delta({"role": "assistant", "content": ""}))
    # A card number split over two events: neither contains it whole.
    for text in ["You said 4111 11", "11 1111 1111", "."]:
        yield chunk(delta({"content": text}))
    yield chunk(delta({}, "length"))
    yield chunk([], CHAT_USAGE)
    yield "data: [DONE]\n\n"


def message_events():
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 25,
            "cache_read_input_tokens": 10,
            "cache_creation_input_tokens": 5,
            "output_tokens": 1,
        },
    }
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    events = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}}
            for part in ["Let me ", "look."]
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        *(
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": part}}
            for part in ['{"city": ', '"Rome"}']
        ),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 33}},
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def ollama_lines():
    for text in ["Hel", "lo"]:
        yield json.dumps({"model": "llama3.2", "message": {"role": "assistant", "content": text}, "done": False}) + "\n"
    last = {"done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 2}
    yield json.dumps({"model": "llama3.2", "message": {"role": "assistant", "content": ""}, **last}) + "\n"


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.split("?")[0]
        if path == "/v1/messages":
            self.stream("text/event-stream", message_events())
        elif path == "/api/chat":
            self.stream("application/x-ndjson", ollama_lines())
        elif path == "/v1/chat/completions" and json.loads(asked).get("stream"):
            self.stream("text/event-stream; charset=utf-8", chat_events())
        elif path == "/v1/chat/completions":
            self.whole(json.dumps(chat_whole()).encode())
        else:
            self.whole(asked)

    def whole(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, content_type, pieces):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in [*pieces, ""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece.encode()), piece.encode()))


def serve(cert, key):
    plain, tls = (ThreadingHTTPServer(("127.0.0.1", 0), Model) for _ in range(2))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    tls.socket = context.wrap_socket(tls.socket, server_side=True)
    for server in [plain, tls]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(plain.server_port, tls.server_port, flush=True)
    sys.stdin.read()


def ask(*urls):
    import requests

    session = requests.Session()
    session.verify = session.trust_env = False
    requests.packages.urllib3.disable_warnings()
    for url in urls:
        for host, path, asked in [
            ("api.openai.com", "/v1/chat/completions?whole", CHAT),
            ("api.openai.com", "/v1/chat/completions?streamed", CHAT_STREAMED),
            ("api.anthropic.com", "/v1/messages?messages", MESSAGES),
            ("localhost:11434", "/api/chat?ollama", OLLAMA),
            # Not calls: another path, and the path of a call with another body.
            ("api.example.com", "/v1/echo?other", CHAT),
            ("api.example.com", "/v1/chat/completions?unlike", {"hello": "there"}),
        ]:
            answer = session.post(url + path, json=asked, headers={"Host": host}, stream=True)
            assert answer.status_code == 200 and answer.content, answer
    session.close()


def asked():
    print(json.dumps(CHAT_STREAMED))


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "asked": asked}[sys.argv[1]](*sys.argv[2:])
