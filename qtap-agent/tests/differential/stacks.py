"""Other people's HTTP stacks, given the same bytes as qtap. In: a JSON list of cases on standard input. Out: a JSON list of what each stack made of its case.

A case: {"stack": "h11" | "h2" | "nghttp2", "role": "server" | "client", "asked": [[method, path], ...], "data": base64}. `role` says whose end reads the
data; a client is told first what it asked. An answer: {"messages": [...], "error": text or null}; a message: {"stream", "method", "target", "status",
"informational", "fields": [[name, value], ...], "body", "trailers", "ended", "reset"}, texts as latin-1, the body as base64.
"""

import base64
import ctypes
import ctypes.util
import json
import sys


def message(stream):
    return {"stream": stream, "method": None, "target": None, "status": None, "informational": [], "fields": [], "body": b"", "trailers": [], "ended": False, "reset": False}


def text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


def number(status):
    return int(status) if status.isascii() and status.isdigit() else None


def fields(pairs):
    return [[text(name), text(value)] for name, value in pairs]


# --- h11 ---------------------------------------------------------------------------------------------------------------------------------------------

def h11_run(case, data):
    import h11

    client = case["role"] == "client"
    conn = h11.Connection(h11.CLIENT if client else h11.SERVER, max_incomplete_event_size=1 << 20)
    seen, asked = [], list(case["asked"])

    def ask():
        method, path = asked.pop(0)
        conn.send(h11.Request(method=method, target=path, headers=[("Host", "h")]))
        conn.send(h11.EndOfMessage())

    if client:
        ask()
    conn.receive_data(data)
    conn.receive_data(b"")
    try:
        while True:
            event = conn.next_event()
            if not getattr(event, "http_version", b"1.1").startswith(b"1."):
                return seen, "no HTTP/1"
            if isinstance(event, h11.Request):
                seen.append(message(len(seen)) | {"method": text(event.method), "target": text(event.target), "fields": fields(event.headers)})
            elif isinstance(event, h11.InformationalResponse):
                if not seen or seen[-1]["status"] is not None:
                    seen.append(message(len(seen)))
                seen[-1]["informational"].append(event.status_code)
            elif isinstance(event, h11.Response):
                if not seen or seen[-1]["status"] is not None:
                    seen.append(message(len(seen)))
                seen[-1] |= {"status": event.status_code, "fields": fields(event.headers)}
            elif isinstance(event, h11.Data):
                seen[-1]["body"] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen[-1] |= {"trailers": fields(event.headers), "ended": True}
                if not client:
                    conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    conn.send(h11.EndOfMessage())
                if conn.our_state is h11.DONE and conn.their_state is h11.DONE:
                    conn.start_next_cycle()
                    if client:
                        if not asked:
                            break
                        ask()
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                break
    except h11.ProtocolError as error:
        return seen, str(error)
    return seen, None


# --- h2 ----------------------------------------------------------------------------------------------------------------------------------------------

def h2_run(case, data):
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions

    client = case["role"] == "client"
    config = h2.config.H2Configuration(client_side=client, header_encoding=None, validate_inbound_headers=False)
    conn = h2.connection.H2Connection(config)
    conn.local_settings.max_concurrent_streams = 1000
    conn.local_settings.initial_window_size = 1 << 24
    conn.local_settings.acknowledge()
    conn.decoder.max_header_list_size = 1 << 24
    conn.initiate_connection()
    conn._inbound_flow_control_window_manager = type(conn._inbound_flow_control_window_manager)(1 << 30)
    if client:
        for n, (method, path) in enumerate(case["asked"]):
            conn.send_headers(2 * n + 1, [(":method", method), (":path", path), (":scheme", "http"), (":authority", "h")], end_stream=True)
    seen = {}

    def of(stream):
        return seen.setdefault(stream, message(stream))

    try:
        events = conn.receive_data(data)
    except h2.exceptions.ProtocolError as error:
        return list(seen.values()), repr(error)
    for event in events:
        if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
            all_fields = fields(event.headers)
            pseudo = {name: value for name, value in all_fields if name.startswith(":")}
            of(event.stream_id).update(
                method=pseudo.get(":method"), target=pseudo.get(":path"),
                status=number(pseudo.get(":status", "")),
                fields=[pair for pair in all_fields if not pair[0].startswith(":")],
            )
        elif isinstance(event, h2.events.InformationalResponseReceived):
            of(event.stream_id)["informational"].append(number(dict(fields(event.headers))[":status"]))
        elif isinstance(event, h2.events.DataReceived):
            of(event.stream_id)["body"] += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            of(event.stream_id)["trailers"] = fields(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            of(event.stream_id)["ended"] = True
        elif isinstance(event, h2.events.StreamReset):
            of(event.stream_id)["reset"] = True
    return list(seen.values()), None


# --- nghttp2 -----------------------------------------------------------------------------------------------------------------------------------------

class FrameHead(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("stream_id", ctypes.c_int32), ("type", ctypes.c_uint8), ("flags", ctypes.c_uint8), ("reserved", ctypes.c_uint8)]


class Headers(ctypes.Structure):
    """The beginning of nghttp2_headers, as far as it is read here."""

    _fields_ = [("hd", FrameHead), ("padlen", ctypes.c_size_t), ("pri_stream", ctypes.c_int32), ("pri_weight", ctypes.c_int32), ("pri_exclusive", ctypes.c_uint8), ("nva", ctypes.c_void_p), ("nvlen", ctypes.c_size_t), ("cat", ctypes.c_int)]


class Pair(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p), ("namelen", ctypes.c_size_t), ("valuelen", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


HEADERS, TRAILERS_CATEGORY, END_STREAM = 1, 3, 1
POINTER, INT, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
ON_HEADER = ctypes.CFUNCTYPE(INT, POINTER, POINTER, POINTER, SIZE, POINTER, SIZE, ctypes.c_uint8, POINTER)
ON_DATA = ctypes.CFUNCTYPE(INT, POINTER, ctypes.c_uint8, ctypes.c_int32, POINTER, SIZE, POINTER)
ON_FRAME = ctypes.CFUNCTYPE(INT, POINTER, POINTER, POINTER)


def nghttp2_library():
    name = ctypes.util.find_library("nghttp2") or "libnghttp2.so.14"
    library = ctypes.CDLL(name)
    library.nghttp2_session_mem_recv.restype = ctypes.c_ssize_t
    library.nghttp2_session_mem_recv.argtypes = [POINTER, ctypes.c_char_p, SIZE]
    library.nghttp2_session_mem_send.restype = ctypes.c_ssize_t
    library.nghttp2_strerror.restype = ctypes.c_char_p
    return library


def nghttp2_run(case, data):
    library = nghttp2_library()
    client, seen = case["role"] == "client", {}

    def of(stream):
        return seen.setdefault(stream, message(stream))

    def on_header(_session, frame, name, namelen, value, valuelen, _flags, _user):
        head = Headers.from_address(frame)
        if head.hd.type != HEADERS:
            return 0
        name, value = ctypes.string_at(name, namelen).decode("latin-1"), ctypes.string_at(value, valuelen).decode("latin-1")
        one = of(head.hd.stream_id)
        if name == ":status" and value.startswith("1") and number(value):
            one["informational"].append(number(value))
        elif name in (":method", ":path", ":status"):
            one[{":method": "method", ":path": "target", ":status": "status"}[name]] = number(value) if name == ":status" else value
        elif not name.startswith(":"):
            # A category of its own stands for what comes after the final head: trailers, but informational heads too.
            late = head.cat == TRAILERS_CATEGORY and one.get("final")
            one["trailers" if late else "fields"].append([name, value])
        return 0

    def on_data(_session, _flags, stream, octets, length, _user):
        of(stream)["body"] += ctypes.string_at(octets, length)
        return 0

    def on_frame(_session, frame, _user):
        head = FrameHead.from_address(frame)
        if head.type == HEADERS:
            one = of(head.stream_id)
            one["final"] = one["status"] is not None or one["method"] is not None
            if not one["final"]:
                one["fields"] = []
        if head.type in (0, HEADERS) and head.flags & END_STREAM:
            of(head.stream_id)["ended"] = True
        if head.type == 3:
            of(head.stream_id)["reset"] = True
        return 0

    kept = [ON_HEADER(on_header), ON_DATA(on_data), ON_FRAME(on_frame)]
    callbacks, session, option = POINTER(), POINTER(), POINTER()
    library.nghttp2_session_callbacks_new(ctypes.byref(callbacks))
    library.nghttp2_session_callbacks_set_on_header_callback(callbacks, kept[0])
    library.nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, kept[1])
    library.nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, kept[2])
    library.nghttp2_option_new(ctypes.byref(option))
    library.nghttp2_option_set_no_http_messaging(option, 1)
    new = library.nghttp2_session_client_new2 if client else library.nghttp2_session_server_new2
    new(ctypes.byref(session), callbacks, None, option)
    library.nghttp2_submit_settings(session, 0, None, 0)
    if client:
        for method, path in case["asked"]:
            pairs = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "h")]
            array = (Pair * len(pairs))(*[Pair(n.encode(), v.encode(), len(n), len(v.encode()), 0) for n, v in pairs])
            library.nghttp2_submit_request(session, None, array, len(pairs), None, None)
    out = ctypes.c_char_p()
    while library.nghttp2_session_mem_send(session, ctypes.byref(out)) > 0:
        pass
    took = library.nghttp2_session_mem_recv(session, data, len(data))
    error = None if took == len(data) else library.nghttp2_strerror(int(took)).decode() if took < 0 else "not all was read"
    library.nghttp2_session_del(session)
    library.nghttp2_option_del(option)
    library.nghttp2_session_callbacks_del(callbacks)
    for one in seen.values():
        one.pop("final", None)
    return list(seen.values()), error


RUN = {"h11": h11_run, "h2": h2_run, "nghttp2": nghttp2_run}


def main():
    answers = []
    for case in json.load(sys.stdin):
        try:
            messages, error = RUN[case["stack"]](case, base64.b64decode(case["data"]))
        except OSError as missing:
            answers.append({"missing": str(missing)})
            continue
        for one in messages:
            one["body"] = base64.b64encode(one["body"]).decode()
        answers.append({"messages": messages, "error": error})
    json.dump(answers, sys.stdout)


main()
