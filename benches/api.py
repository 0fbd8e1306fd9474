"""An API of issues for the bench, rendered beforehand: it must never be what is waited for.

Records stand in one file, each about 530 bytes of JSON with 16 fields, so that any page is one slice of it, sent as it is. Some
processes share the socket, with threads that take one connection after the other, and answers are kept for who asks again. `GET /[n<rows>/][s<first>/][d<ms>/]items`:

    page, per_page    counted pages
    cursor            the id of the last record seen, instead of page
    updated_after     records changed at or after that time; they are sorted by it

answers {"data": [..], "page", "per_page", "total", "next", "next_cursor", "has_more"}. `n` records are there in all, behind the first
`s`; an answer waits `d` milliseconds. The API has a clock of its own, which its Date header tells, and records of later times are not
there yet: behind the first rows stands another hundredth, half of them new, half of them changes among the newest tenth.
"""

import array
import bisect
import datetime as dt
import email.utils
import mmap
import multiprocessing
import os
import random
import socket
import threading
import time

START = int(dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc).timestamp())
YEAR = 365 * 86400
FIRST_ID = 1_000_000_000
WORDS = (
    "error timeout while reading response from server after upgrade incorrect result returned when column is null memory grows over time "
    "invoice payment failed because card was declined refund partial subscription renewed monthly discount coupon tax region shipping "
    'cache eviction policy latency spike regression merge branch pipeline flaky test unicode café naïve \\"quoted\\" line\\nbreak '
    "C:\\\\temp schema validation endpoint token expired scope permission 東京 zażółć"
).split()
THREADS = 64
LABELS = ["bug", "question", "docs", "help wanted", "performance", "security", "ci", "area/api", "area/storage", "priority/high", "stale", "backport"]
CURRENCIES = ["usd", "eur", "gbp", "jpy", "sek", "brl"]


def changed(number, rows):
    """When record `number` changed: the first `rows` over a year, those behind them within a day two hours later."""
    if number < rows:
        return START + number * YEAR // rows
    return START + YEAR + 7200 + (number - rows) * 72000 // max(1, rows // 100)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def words(chance, size):
    parts, length = [], 0
    while length < size:
        parts.append(WORDS[int(chance.random() * len(WORDS))])
        length += len(parts[-1]) + 1
    return " ".join(parts)


def record(chance, number, rows):
    pick = chance.random
    at = changed(number, rows)
    who = number
    if number >= rows and number % 2:
        who = rows - 1 - int(pick() * (rows // 10))
    closed = pick() < 0.4
    user = int(min(pick(), pick()) * 50_000)
    labels = ",".join(f'"{LABELS[int(pick() * len(LABELS))]}"' for _ in range(int(pick() * 4)))
    body = "null" if pick() < 0.07 else f'"{words(chance, 60 + int(pick() * 150))}"'
    return (
        f'{{"id":{FIRST_ID + who * 7},"number":{who + 1},"state":"{"closed" if closed else "open"}",'
        f'"title":"{words(chance, 24 + int(pick() * 30))}","body":{body},'
        f'"created_at":"{stamp(at - int(pick() * 30 * 86400))}","updated_at":"{stamp(at)}",'
        f'"closed_at":{chr(34) + stamp(at) + chr(34) if closed else "null"},'
        f'"user":{{"id":{10_000 + user},"login":"user-{user * 2654435761 & 0xFFFFFF:x}","type":"{"User" if user % 29 else "Bot"}",'
        f'"site_admin":{"false" if user % 997 else "true"}}},"labels":[{labels}],"comments":{int(pick() * 120)},'
        f'"locked":{"true" if pick() < 0.05 else "false"},"amount":{int(pick() * 5000)}.{int(pick() * 90) + 10},'
        f'"currency":"{CURRENCIES[int(pick() * 6)]}","score":{"null" if pick() < 0.1 else f"{pick():.6f}"},'
        f'"assignee_id":{10_000 + int(pick() * 50_000) if pick() < 0.33 else "null"}}}'
    ).encode()


def render(path, rows):
    """Writes the records and, beside them, where each begins; kept, for the same rows are always the same bytes."""
    if os.path.exists(path + ".offsets"):
        return
    total = rows + rows // 100
    offsets, at, chance = array.array("Q"), 0, random.Random(42)
    with open(path, "wb", buffering=1 << 20) as file:
        for number in range(total):
            text = record(chance, number, rows)
            offsets.append(at)
            file.write(text)
            file.write(b",")
            at += len(text) + 1
    offsets.append(at)
    with open(path + ".part", "wb") as file:
        offsets.tofile(file)
    os.replace(path + ".part", path + ".offsets")


class Api:
    def __init__(self, path, rows, processes=2):
        render(path, rows)
        self.rows = rows
        self.times = [changed(number, rows) for number in range(rows, rows + rows // 100)]
        self.offsets = array.array("Q")
        with open(path + ".offsets", "rb") as file:
            self.offsets.frombytes(file.read())
        with open(path, "rb") as file:
            self.records = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        self.clock = multiprocessing.Value("q", START + YEAR + 3600)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.workers = [multiprocessing.get_context("fork").Process(target=self.accept, daemon=True) for _ in range(processes)]
        for worker in self.workers:
            worker.start()

    def tell(self, later):
        """Sets the clock: before the last hundredth came, or behind it."""
        self.clock.value = START + YEAR + (2 * 86400 if later else 3600)

    def cpu(self):
        ticks = 0
        for worker in self.workers:
            with open(f"/proc/{worker.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self):
        for worker in self.workers:
            worker.terminate()
            worker.join()

    def accept(self):
        self.kept = {}
        threads = [threading.Thread(target=self.take, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def take(self):
        while True:
            peer, _ = self.socket.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.converse(peer)

    def converse(self, peer):
        asked = b""
        with peer:
            try:
                while True:
                    while b"\r\n\r\n" not in asked:
                        more = peer.recv(65536)
                        if not more:
                            return
                        asked += more
                    request, _, asked = asked.partition(b"\r\n\r\n")
                    line = request[: request.find(b"\r\n")]
                    now = self.clock.value
                    if (line, now) not in self.kept:
                        self.kept[line, now] = self.answer(*line.split(b" ")[:2], now)
                    delay, parts = self.kept[line, now]
                    if delay:
                        time.sleep(delay)
                    parts = list(parts)
                    left = sum(map(len, parts))
                    while left:
                        sent = peer.sendmsg(parts)
                        left -= sent
                        while left and sent >= len(parts[0]):
                            sent -= len(parts.pop(0))
                        parts[0] = memoryview(parts[0])[sent:]
            except OSError:
                return

    def found(self, now, since):
        """The first record of that time or later, and the end of those that are there by now."""
        end = self.rows + bisect.bisect_right(self.times, now)
        if since <= START:
            return 0, end
        if since > changed(self.rows - 1, self.rows):
            return self.rows + bisect.bisect_left(self.times, since), end
        return -((START - since) * self.rows // YEAR), end

    def answer(self, method, target, now):
        """Seconds to wait, and the answer in parts."""
        path, _, query = target.decode().partition("?")
        options = dict(part.split("=", 1) for part in query.split("&") if part)
        first, most, kind, delay = 0, None, "", 0
        for step in path.split("/"):
            if step[1:].isdigit() and step[0] in "nsd":
                if step[0] == "n":
                    most = int(step[1:])
                elif step[0] == "s":
                    first = int(step[1:])
                else:
                    delay = int(step[1:]) / 1000
            else:
                kind = step or kind
        date = email.utils.formatdate(now, usegmt=True)
        if kind != "items":
            text = b'{"error":"not found"}'
            return delay, [b"HTTP/1.1 404 Not Found\r\nDate: %s\r\nContent-Length: %d\r\n\r\n" % (date.encode(), len(text)), text]
        since = options.get("updated_after", "").replace("%3A", ":").replace("%2B", "+")
        since = dt.datetime.fromisoformat(since).timestamp() if since else 0
        begin, end = self.found(now, since)
        begin = max(begin, first)
        end = max(begin, min(end, first + most) if most is not None else end)
        per, page = int(options.get("per_page", 100)), int(options.get("page", 1))
        low = (int(options["cursor"]) - FIRST_ID) // 7 + 1 if options.get("cursor") else begin + (page - 1) * per
        low = min(max(low, begin), end)
        high = min(low + per, end)
        following, token = b"null", b"null"
        if high < end:
            token = b'"%d"' % (FIRST_ID + (high - 1) * 7)
            rest = "".join(f"&{name}={value}" for name, value in options.items() if name not in ("page", "cursor"))
            where = f"cursor={FIRST_ID + (high - 1) * 7}" if options.get("cursor") else f"page={page + 1}"
            following = f'"{self.url}{path}?{where}{rest}"'.encode()
        data = self.records[self.offsets[low] : max(self.offsets[low], self.offsets[high] - 1)]
        head = b'{"data":['
        tail = b'],"page":%d,"per_page":%d,"total":%d,"next":%s,"next_cursor":%s,"has_more":%s}' % (
            page, per, end - begin, following, token, b"true" if high < end else b"false",
        )
        size = len(head) + len(data) + len(tail)
        status = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n" % (date.encode(), size)
        if method == b"HEAD":
            return delay, [status]
        return delay, [part for part in (status + head, data, tail) if len(part)]
