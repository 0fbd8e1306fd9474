"""json-server: nested records, filters by `updated_at`, three ways of paging, and records below records."""

import datetime as dt
import json
import pathlib
import random
import sys
import time

from real import Project, Server, call, free_port

POSTS = 2500
JOBS = ["posts", "versions", "comments"]


def text(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def now():
    return text(dt.datetime.now(dt.timezone.utc))


def posts(dice):
    at = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    for number in range(1, POSTS + 1):
        created = text(at)
        # Now and then a handful at the same moment, as a bulk edit leaves them.
        at += dt.timedelta(milliseconds=0 if dice.random() < 0.1 else dice.randrange(20_000_000))
        yield {
            "id": number,
            "version": 1,
            "title": f"Straße {number} – “{dice.choice(['Zoë', '東京', 'naïve', 'x' * 300])}”",
            "created_at": created,
            "updated_at": text(at),
            "author": {"name": f"a{number % 17}", "address": {"city": dice.choice(["Köln", "Oslo"]), "geo": [dice.random(), -1.5]}},
            "tags": [f"t{n}" for n in range(number % 4)],
            "revisions": [{"by": f"a{n}", "at": created, "size": n * 10**10} for n in range(number % 3)],
            "score": dice.choice([None, 0.25, 1e-7]),
            "draft": number % 7 == 0,
        }


def all_of(address, path):
    """Every record, by the server's own count and not by its pages."""
    headers, records = call(f"{address}/{path}?_start=0&_limit=1000000")
    assert len(records) == int(headers["X-Total-Count"])
    return records


def main():
    folder = pathlib.Path(sys.argv[1])
    dice = random.Random(1)
    written = list(posts(dice))
    comments = [
        {"id": n, "postId": dice.randrange(1, POSTS + 1), "body": f"c{n}", "likes": {"up": n, "by": [n, n + 1]}, "updated_at": now()}
        for n in range(1, POSTS + 1)
    ]
    data = folder / "json-server" / "db.json"
    data.write_text(json.dumps({"posts": written, "comments": comments}))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [folder / "node_modules/.bin/json-server", "--host", "127.0.0.1", "--port", port, data]
    server = Server(command, folder / "json-server" / "server.log", port)
    project = Project(folder, "json-server", address)

    def truths():
        posts_now = all_of(address, "posts")
        titles = {post["id"]: post["title"] for post in posts_now}
        below = [{**comment, "post_title": titles[comment["postId"]]} for comment in all_of(address, "comments")]
        return [("posts", ["id"], posts_now), ("versions", ["id", "version"], versions), ("comments", ["id"], below)]

    def run():
        time.sleep(3)  # what `settle` and a server's clock of whole seconds leave to the next run
        before = server.requests("GET /posts")
        project.highwater("run", *JOBS)
        asked = server.requests("GET /posts") - before
        return project.compare(truths()), asked

    versions = all_of(address, "posts")
    project.look(JOBS)
    records, first = run()

    for ident in (1, 2, 1250, 2500):
        versions.append(call(f"{address}/posts/{ident}", "PATCH", {"title": f"edited {ident}", "version": 2, "score": 2.5, "updated_at": now()})[1])
        call(f"{address}/comments", "POST", {"postId": ident, "body": "new", "likes": {"up": 0, "by": []}, "updated_at": now()})
    for ident in range(POSTS + 1, POSTS + 151):
        versions.append(call(f"{address}/posts", "POST", {**written[0], "id": ident, "created_at": now(), "updated_at": now()})[1])
    records, second = run()
    _, third = run()
    print(f"json-server: {records} records; {first} requests, then {second}, then {third}; differences: 0")


main()
