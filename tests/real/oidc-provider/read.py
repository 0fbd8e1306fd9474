"""oidc-provider: an API whose tokens live for five seconds, read as a machine and as a person who logged in once."""

import datetime as dt
import http.cookiejar
import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request
from base64 import b64encode

from real import Project, Server, call, free_port

JOBS = ["machine", "person"]
SECRETS = {"MACHINE_SECRET": "machine+secret/%20", "PERSON_SECRET": "person-secret"}
DONE = "http://127.0.0.1:1/done"


class UntilDone(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but for the one back to the client, which it keeps."""

    code = None

    def redirect_request(self, request, answer, status, message, headers, address):
        if address.startswith(DONE):
            self.code = urllib.parse.parse_qs(urllib.parse.urlparse(address).query)["code"][0]
            return None
        return super().redirect_request(request, answer, status, message, headers, address)


def log_in(address):
    """A refresh token, as a person gets it: log in, consent, exchange the code."""
    redirects = UntilDone()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), redirects)
    query = {"client_id": "person", "response_type": "code", "redirect_uri": DONE, "prompt": "consent", "scope": "openid offline_access orders"}
    page = opener.open(f"{address}/auth?{urllib.parse.urlencode(query)}").read().decode()
    for fields in ({"prompt": "login", "login": "ada", "password": "any"}, {"prompt": "consent"}):
        action = re.search(r'action="([^"]+)"', page).group(1)
        try:
            page = opener.open(urllib.parse.urljoin(address, action), urllib.parse.urlencode(fields).encode()).read().decode()
        except urllib.error.HTTPError as error:
            # The redirect that was not followed.
            if redirects.code is None:
                raise SystemExit(f"oidc-provider: no login: {error.code} {error.read()[:500]!r}") from None
    fields = {"grant_type": "authorization_code", "code": redirects.code, "redirect_uri": DONE}
    basic = b64encode(f"person:{SECRETS['PERSON_SECRET']}".encode()).decode()
    request = urllib.request.Request(f"{address}/token", urllib.parse.urlencode(fields).encode(), {"Authorization": f"Basic {basic}"})
    return json.load(urllib.request.urlopen(request))["refresh_token"]


def text(at):
    return at.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:23] + "Z"


def order(ident, at):
    return {"id": ident, "changed": text(at), "customer": {"name": f"c{ident % 50}", "tags": ["a", "b"][: ident % 3]}, "lines": [{"n": ident, "price": 1.5}]}


def main():
    folder = pathlib.Path(sys.argv[1])
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    script = pathlib.Path(__file__).with_name("server.mjs")
    server = Server(["node", script, folder / "node_modules", port], folder / "oidc-provider" / "server.log", port)
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    call(f"{address}/desk/orders", "PUT", [order(n, begin + dt.timedelta(hours=2 * n)) for n in range(1, 2501)])
    project = Project(folder, "oidc-provider", address, {**SECRETS, "PERSON_REFRESH": log_in(address)})

    def run():
        time.sleep(3)  # what `settle` and a server's clock of whole seconds leave to the next run
        before = [server.requests(pattern) for pattern in ("GET /api/orders.* 200", "POST /token 200")]
        project.highwater("run", *JOBS)
        asked = [server.requests(pattern) - count for pattern, count in zip(("GET /api/orders.* 200", "POST /token 200"), before)]
        everything = call(f"{address}/desk/orders")[1]
        return project.compare([(job, ["id"], everything) for job in JOBS]), "{} requests with {} tokens".format(*asked)

    project.look(JOBS)
    records, first = run()
    now = dt.datetime.now(dt.timezone.utc)
    call(f"{address}/desk/orders", "PUT", [order(n, now) for n in (1, 1000, *range(2500, 3000))])
    records, second = run()
    _, third = run()
    refused = server.requests("POST /token [45]")
    if refused:
        raise SystemExit(f"oidc-provider: {refused} token requests were refused, see {server.log}")
    print(f"oidc-provider: {records} records; {first}, then {second}, then {third}; differences: 0")


main()
