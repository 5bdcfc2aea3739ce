"""A router as its web interface sees it: the files of this package and of the stand-in for LuCI, and ubus with UCI behind it.

What a session may do is what the package's own ACL file grants to the groups that the session is given.
"""
import copy
import http.server
import json
import pathlib
import sys
import threading
import urllib.parse

PACKAGE = pathlib.Path(__file__).resolve().parent.parent
STUB = PACKAGE / "tests" / "stub"
ACL = json.loads((PACKAGE / "root/usr/share/rpcd/acl.d/luci-app-wgautomesh.json").read_text())
MENU = json.loads((PACKAGE / "root/usr/share/luci/menu.d/luci-app-wgautomesh.json").read_text())

SCRIPT = "/cgi-bin/luci"
SESSION = "0123456789abcdef0123456789abcdef"

# ubus' own
NOT_FOUND, NO_DATA, DENIED = 4, 5, 6


class Router:
    def __init__(self):
        self.lock = threading.Lock()
        self.status = {"meshes": {}}
        self.status_code = 0
        self.has_plugin = True
        self.configs = {"wgautomesh": {}, "network": {}}
        self.calls = []
        self.applied = []
        self.alive = True
        self.dark = False
        self.translations = {}
        self.groups = {name: {"read", "write"} for name in ACL}
        handler = type("Handler", (Handler,), {"router": self})
        self.server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def url(self, menu_entry):
        return f"http://127.0.0.1:{self.server.server_port}{SCRIPT}/{menu_entry}"

    def section(self, config, kind, name=None, /, **options):
        """Adds a section as if it had been in the file."""
        sections = self.configs[config]
        anonymous = name is None
        if anonymous:
            name = f"cfg{len(sections) + 1:02x}{abs(hash(kind)) % 0xffff:04x}"
        sections[name] = {".type": kind, ".name": name, ".anonymous": anonymous, ".index": len(sections), **options}
        return name

    def changes(self):
        """The calls that changed something."""
        return [(m, a) for o, m, a in self.calls if o == "uci" and m in ("add", "set", "delete")]

    def granted(self, access, scope, name):
        return any(access in levels and name in ACL[group].get(access, {}).get(scope, [])
                   for group, levels in self.groups.items())

    def call(self, session, name, method, args):
        """The answer as JSON-RPC has it: a result or an error."""
        error = lambda code, message: {"error": {"code": code, "message": message}}
        if (name, method) == ("session", "access"):
            allowed = self.alive and session == SESSION and (
                args.get("object") == "luci" or self.granted(args["function"], args["scope"], args["object"]))
            return {"result": [0, {"access": allowed}]}
        if not self.alive or session != SESSION:
            return error(-32002, "Access denied")
        if name == "uci":
            access = "read" if method == "get" else "write"
            if not self.granted(access, "uci", args["config"]):
                return error(-32002, "Access denied") if not args else {"result": [DENIED]}
            return {"result": self.uci(method, args)}
        if (name, method) == ("wgautomesh", "status") and self.has_plugin:
            granted = any("read" in levels and method in ACL[group].get("read", {}).get("ubus", {}).get(name, [])
                          for group, levels in self.groups.items())
            if not granted:
                return error(-32002, "Access denied")
            return {"result": [self.status_code] + ([copy.deepcopy(self.status)] if self.status_code == 0 else [])}
        return error(-32000, "Object not found")

    def uci(self, method, args):
        config = self.configs.get(args["config"])
        if config is None:
            return [NOT_FOUND]
        if method == "get":
            return [0, {"values": copy.deepcopy(config)}]
        if method == "add":
            name = self.section(args["config"], args["type"], args.get("name"), **args.get("values", {}))
            return [0, {"section": name}]
        section = config.get(args["section"])
        if section is None:
            return [NOT_FOUND]
        if method == "set":
            section.update(args["values"])
        elif method == "delete":
            if args.get("options") is None:
                del config[args["section"]]
            for option in args.get("options") or []:
                section.pop(option, None)
        else:
            return [3]
        return [0]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A page that is closed leaves its connections; anything else is a fault of this stand-in.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    router = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith(SCRIPT + "/"):
            return self.page(path[len(SCRIPT) + 1:])
        resource = path.removeprefix("/luci-static/")
        for root in (PACKAGE / "htdocs" / "luci-static", ):
            if (root / resource).is_file():
                return self.answer(200, "text/javascript", (root / resource).read_bytes())
        stub = STUB / pathlib.PurePosixPath(resource).name
        if resource in ("theme.css", "resources/" + stub.name) and stub.is_file():
            kind = "text/css" if stub.suffix == ".css" else "text/javascript"
            return self.answer(200, kind, stub.read_bytes())
        self.answer(404, "text/plain", b"")

    def page(self, entry):
        node = MENU.get(entry)
        if node is None or node["action"]["type"] != "view":
            return self.answer(404, "text/plain", b"no such page")
        # All of the groups that an entry depends on are needed.
        if any(not self.router.groups.get(group) for group in node["depends"]["acl"]):
            return self.answer(403, "text/plain", b"Access denied")
        env = {
            "scriptname": SCRIPT, "resource": "/luci-static/resources", "sessionid": SESSION, "pollinterval": 5,
            "view": node["action"]["path"], "translations": self.router.translations,
        }
        text = (STUB / "page.html").read_text()
        text = text.replace("@DARK@", ' data-darkmode="true"' if self.router.dark else "")
        text = text.replace("@ENV@", json.dumps(env).replace("<", "\\u003c"))
        self.answer(200, "text/html", text.encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urllib.parse.urlsplit(self.path).path
        router = self.router
        with router.lock:
            if path.startswith(SCRIPT + "/admin/ubus"):
                session, name, method, args = body["params"]
                reply = router.call(session, name, method, args)
                router.calls.append((name, method, args))
                return self.answer(200, "application/json",
                                   json.dumps({"jsonrpc": "2.0", "id": body["id"], **reply}).encode())
            if path.startswith(SCRIPT + "/admin/uci/apply_") and body["sid"] == SESSION:
                router.applied.append(path.rsplit("/", 1)[1])
                return self.answer(200, "application/json", b"{}")
        self.answer(404, "text/plain", b"")
