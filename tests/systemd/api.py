"""A small API for the daemon under its unit: orders that come in, one a second, behind a bearer token."""

import datetime
import http.server
import json
import urllib.parse

START = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Authorization") != "Bearer correct-horse":
            return self.answer(401, {"error": "who are you?"})
        query = {name: values[0] for name, values in urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).items()}
        now = datetime.datetime.now(datetime.timezone.utc)
        count = int((now - START).total_seconds())
        orders = [
            {"id": n, "updated_at": stamp(START + datetime.timedelta(seconds=n)), "amount": n / 4, "customer": {"name": f"c{n % 7}"}}
            for n in range(count)
        ]
        first, last = query.get("since", ""), query.get("until", "")
        if first:
            orders = [order for order in orders if parse(order["updated_at"]) >= parse(first)]
        if last:
            orders = [order for order in orders if parse(order["updated_at"]) < parse(last)]
        page, size = int(query.get("page", "1")), 500
        rows = orders[(page - 1) * size : page * size]
        self.answer(200, {"data": rows, "has_more": page * size < len(orders)})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Api).serve_forever()
