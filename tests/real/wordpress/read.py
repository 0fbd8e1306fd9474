"""WordPress: posts by the time they were modified, on a site with summer time, with a user who may see drafts and the trash."""

import base64
import datetime as dt
import http.cookiejar
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zoneinfo

from real import Project, Server, call, free_port

JOBS = ["posts", "comments"]
ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
UTC = dt.timezone.utc


def start_database(folder):
    data, socket = folder / "data", folder / "db.sock"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    options = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
    command = ["mariadb-install-db", *options, "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    here = [f"--socket={socket}", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder / 'db.pid'}"]
    Server([shutil.which("mariadbd") or "/usr/sbin/mariadbd", *options, *here], folder / "db.log", port)

    def sql(text):
        command = ["mariadb", "--no-defaults", f"--socket={socket}", "--default-character-set=utf8mb4"]
        subprocess.run(command, input=text, text=True, check=True)

    sql("CREATE DATABASE wordpress CHARACTER SET utf8mb4")
    return socket, sql


def form(opener, address, fields):
    data = urllib.parse.urlencode(fields).encode()
    with opener.open(address, data, timeout=120) as answer:
        return answer.read().decode()


def install(address):
    """The site as its administrator makes it; gives an application password."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    secret = "a long passphrase for a test"
    fields = {"weblog_title": "Real", "user_name": "admin", "admin_email": "admin@example.org", "blog_public": "0"}
    page = form(opener, f"{address}/wp-admin/install.php?step=2", {**fields, "admin_password": secret, "admin_password2": secret})
    assert "Success" in page, page[:2000]
    opener.open(f"{address}/wp-login.php").read()
    form(opener, f"{address}/wp-login.php", {"log": "admin", "pwd": secret, "testcookie": "1"})
    nonce = opener.open(f"{address}/wp-admin/admin-ajax.php?action=rest-nonce").read().decode()
    route = f"{address}/index.php?rest_route=/wp/v2/"
    headers = {"X-WP-Nonce": nonce}
    call(f"{route}settings", "POST", {"timezone": ZONE.key}, headers, opener)
    return call(f"{route}users/me/application-passwords", "POST", {"name": "highwater"}, headers, opener)[1]["password"]


def posts():
    """Times of 400 posts: over the year, through the hour that the site's clocks show twice, and many in one second."""
    yield from (dt.datetime(2026, 1, 1, 5, tzinfo=UTC) + dt.timedelta(hours=37 * n) for n in range(150))
    yield from (dt.datetime(2026, 10, 24, 23, tzinfo=UTC) + dt.timedelta(minutes=3 * n) for n in range(100))
    yield from (dt.datetime(2026, 6, 30, 12, tzinfo=UTC) for _ in range(150))


def rows():
    for number, at in enumerate(posts()):
        local, gmt = (f"{one:%Y-%m-%d %H:%M:%S}" for one in (at.astimezone(ZONE), at))
        status = "draft" if number % 9 == 0 else "publish"
        text = f"Grüße {number} 😀 <b>fett</b>"
        yield f"(1,'{local}','{gmt}','{local}','{gmt}','{text}','Post {number}','','post-{number}','{status}','post','','','')"


def main():
    folder = pathlib.Path(sys.argv[1])
    own = folder / "wordpress"
    socket, sql = start_database(own)
    site = own / "site"
    shutil.copytree(folder / "debian/usr/share/wordpress", site, ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns("wp-content", "wp-config.php"))
    (site / "wp-content").mkdir()
    shutil.copy(pathlib.Path(__file__).with_name("wp-config.php"), site)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "REAL_SOCKET": str(socket), "PHP_CLI_SERVER_WORKERS": "3"}
    server = Server(["php", "-S", f"127.0.0.1:{port}", "-t", site], own / "server.log", port, env=environment)

    password = install(address)
    sql("UPDATE wordpress.wp_options SET option_value = '/%postname%/' WHERE option_name = 'permalink_structure'")
    columns = "post_author,post_date,post_date_gmt,post_modified,post_modified_gmt,post_content,post_title,post_excerpt,post_name,post_status,post_type,to_ping,pinged,post_content_filtered"
    sql(f"INSERT INTO wordpress.wp_posts ({columns}) VALUES {','.join(rows())}")
    # As for every post that says no category.
    sql("INSERT INTO wordpress.wp_term_relationships (object_id, term_taxonomy_id) SELECT ID, 1 FROM wordpress.wp_posts WHERE guid = ''")
    token = base64.b64encode(f"admin:{password}".encode()).decode()
    project = Project(folder, "wordpress", address, {"WORDPRESS_PASSWORD": password})

    def ask(route, method="GET", body=None):
        return call(f"{address}/index.php?rest_route=/wp/v2/{route}", method, body, {"Authorization": f"Basic {token}"})

    def all_of(route):
        """Every record, in larger pages than the definition's and checked against the server's own count."""
        found = {}
        for page in range(1, 100):
            headers, records = ask(f"{route}&per_page=100&page={page}&orderby=id")
            found.update((record["id"], record) for record in records)
            if page >= int(headers["X-WP-TotalPages"]):
                assert len(found) == int(headers["X-WP-Total"])
                return list(found.values())

    def run():
        time.sleep(3)  # what `settle` and a server's clock of whole seconds leave to the next run
        before = server.requests("GET /wp-json")
        project.highwater("run", *JOBS)
        asked = server.requests("GET /wp-json") - before
        truths = [("posts", ["id"], all_of("posts&context=edit&status=publish,draft")), ("comments", ["id"], all_of("comments"))]
        return project.compare(truths), asked

    project.look(JOBS)
    records, first = run()

    known = [record["id"] for record in all_of("posts&status=publish")]
    for ident in known[:3] + known[-3:]:
        ask(f"posts/{ident}", "POST", {"title": f"edited {ident}", "status": "draft" if ident == known[1] else "publish"})
    for number in range(60):
        new = ask("posts", "POST", {"title": f"new {number}", "content": "neu", "status": "publish"})[1]
    ask("comments", "POST", {"post": new["id"], "content": "a word"})
    ask(f"posts/{known[10]}", "DELETE")
    records, second = run()
    _, third = run()
    print(f"wordpress: {records} records; {first} requests, then {second}, then {third}; differences: 0")


main()
