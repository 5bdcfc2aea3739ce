"""The status view in a browser."""
import unittest

import sample
from base import BIDI, HOSTILE, PHONE, ViewTest
from router import NO_DATA

ROWS = """[...document.querySelectorAll('.wgautomesh .peers tr[data-key]')].map((row) =>
    [...row.querySelectorAll('td')].map((cell) => cell.innerText.replace(/\\s+/g, ' ').trim()))"""
FACTS = """Object.fromEntries([...document.querySelectorAll('.wgautomesh .facts tr')].map((row) =>
    [row.children[0].innerText, [...row.children[1].children].map((line) => line.innerText)]))"""
WARNINGS = "[...document.querySelectorAll('.alert-message')].map((node) => node.innerText)"


def short(name):
    return sample.key(name)[:8]


class Status(ViewTest):
    entry = "admin/vpn/wgautomesh/status"

    def show(self, document, name="home", **size):
        self.router.status = {"meshes": {name: document}}
        return self.open(**size)

    def test_each_peer_has_its_row_and_what_needs_attention_comes_first(self):
        page = self.show(sample.home())
        self.keep(page, "status")
        self.assertEqual(page.js(ROWS), [
            ["bob 10.14.0.5 · " + short("bob"), "Connecting Introduced by dora", "203.0.113.77:40001 seen by another peer", "-", "-",
             "↓ 0 B ↑ 0 B"],
            ["caravan 10.14.0.6 · " + short("caravan"), "Not connected no connected peer could introduce us", "-", "-", "-",
             "↓ 0 B ↑ 0 B"],
            [short("10.14.0.8") + " 10.14.0.8",
             "Not connected it did not answer on any endpoint that is known Last introduced by attic "
             "It is behind an endpoint-dependent NAT, which is hard to open. "
             "It is on the LAN at 192.168.1.40:51820, and does not answer there.", "-", "-", "3d 0h ago", "↓ 4.9 KiB ↑ 8.8 KiB"],
            ["alice fd14::7 · " + short("alice"), "Connected", "[2001:db8::4]:51820 it reached us", "2.1 s", "3s ago",
             "↓ 1024 B ↑ 2.0 KiB"],
            ["attic 10.14.0.3 · " + short("attic"), "Connected", "192.168.1.23:51820 on the LAN", "0.8 ms", "3s ago",
             "↓ 85.0 GiB ↑ 7.6 GiB"],
            ["dora 10.14.0.2 · " + short("dora"), "Connected", "203.0.113.9:51820 as configured", "12 ms", "1m 12s ago",
             "↓ 120.6 KiB ↑ 7.7 KiB"],
            ["office 10.14.0.4 · " + short("office"), "Connected", "198.51.100.77:40001 seen by another peer", "38 ms", "1m 51s ago",
             "↓ 4.9 MiB ↑ 793.3 KiB"],
        ])
        self.assertEqual(page.js("document.querySelector('.wgautomesh h3').innerText"), "home 4 of 7 connected")
        self.assertEqual(page.js(WARNINGS), [])

    def test_the_router_itself_is_described(self):
        page = self.show(sample.home())
        self.assertEqual(page.js(FACTS), {
            "Interface": ["wg0, 10.14.0.1"],
            "Public key": [sample.key("this router")],
            "NAT": ["IPv4: endpoint-independent, easy to open", "IPv6: none, reachable as it is"],
            "Seen at": ["198.51.100.7:51820, by 5 peers", "[2001:db8::7]:51820, by 1 peer"],
            "Port mapping": ["198.51.100.7:51820 by PCP of 192.0.2.1, for 55m 21s"],
            "UDP ports": ["WireGuard 51820, gossip in the mesh 1666"],
            "Running": ["version 0.1.0, for 3h 12m"],
        })

    def test_what_is_not_known_is_said_to_be_not_known(self):
        node = {"interface_up": False, "key": None, "mesh_address": None, "listen_port": None, "uptime_s": 7, "seen_at": [],
                "nat": {"ipv4": None, "ipv6": None}, "port_mapping": None}
        page = self.show(sample.document([], **node))
        self.assertEqual(page.js(FACTS), {
            "Interface": ["wg0", "It is not there: waiting for it."], "NAT": ["not known yet"], "Seen at": ["by nobody yet"],
            "Port mapping": ["not wanted"], "UDP ports": ["gossip in the mesh 1666"], "Running": ["version 0.1.0, for 7s"],
        })
        self.assertIn("No other node is in this mesh yet.", page.js("document.body.innerText"))
        self.assertEqual(page.js("document.querySelectorAll('svg').length"), 0)

    def test_nat_and_port_mapping_in_each_form(self):
        mapped = {"endpoint": "198.51.100.7:1234", "protocol": "UPnP", "gateway": "192.168.1.1", "lease_s": 90}
        reason = {"id": "no-answer", "message": "no gateway answers"}
        for nat, mapping, shown in [
            ({"ipv4": "endpoint-dependent", "ipv6": None}, {"mapped": [], "reason": reason},
             [["IPv4: endpoint-dependent, hard to open"], ["none: no gateway answers"]]),
            ({"ipv4": "translated", "ipv6": "sideways"}, {"mapped": [], "reason": None},
             [["IPv4: some NAT, its kind is not known yet", "IPv6: sideways"], ["none yet"]]),
            ({"ipv4": None, "ipv6": "open"}, {"mapped": [mapped], "reason": reason},
             [["IPv6: none, reachable as it is"],
              ["198.51.100.7:1234 by UPnP of 192.168.1.1, for 1m 30s", "not renewed: no gateway answers"]]),
        ]:
            with self.subTest(nat=nat):
                facts = self.show(sample.document([], nat=nat, port_mapping=mapping)).js(FACTS)
                self.assertEqual([facts["NAT"], facts["Port mapping"]], shown)

    def test_a_newer_daemon_is_understood(self):
        document = sample.home()
        document["peers"] = [{**document["peers"][0], "state": "dreaming", "endpoint_source": "a-dream", "mood": {"id": 7}}]
        self.assertEqual(self.show(document).js(ROWS)[0][1:3], ["dreaming", "203.0.113.9:51820 a-dream"])

    def test_meshes_side_by_side_and_one_without_an_answer(self):
        self.router.status = {"meshes": {"home": sample.home(), "lab": {"error": "no daemon answers for wg1"}, "odd": None}}
        page = self.open()
        self.assertEqual(page.js("[...document.querySelectorAll('[data-mesh]')].map((node) => node.dataset.mesh)"), ["home", "lab", "odd"])
        self.assertEqual(page.js(WARNINGS), ["no daemon answers for wg1", "There is no answer from its daemon."])
        self.assertEqual(len(page.js(ROWS)), 7)

    def test_without_a_mesh_the_way_to_the_configuration_is_shown(self):
        page = self.open()
        self.assertIn("No mesh is enabled.", page.js("document.body.innerText"))
        self.assertEqual(page.js("document.querySelector('#view a').pathname"), "/cgi-bin/luci/admin/vpn/wgautomesh/config")
        self.assertEqual(page.js("document.querySelectorAll('.cbi-page-actions').length"), 0)

    def test_the_map_has_each_peer_in_its_place(self):
        page = self.show(sample.home())
        marks = "(kind) => [...document.querySelectorAll('svg .' + kind)].map((node) => node.getAttribute('class').split(' ')[1])"
        self.assertEqual(page.js(f"({marks})('node')"), ["up", "up", "up", "trying", "down", "up", "down", "self"])
        self.assertEqual(page.js(f"({marks})('link')"), ["up", "up", "up", "trying", "via", "down", "up", "down"])
        self.assertEqual(page.js("[...document.querySelectorAll('svg text')].map((node) => node.textContent)"),
                         ["dora", "attic", "office", "bob", "caravan", "alice", short("10.14.0.8")])
        self.assertEqual(page.js("document.querySelector('svg').getAttribute('aria-label')"), "Map of home: 4 of 7 connected")
        # The line from the one that introduces ends at the one that is introduced.
        self.assertEqual(
            page.js("(() => { const via = document.querySelector('svg .via'), [dora, , , bob] = document.querySelectorAll('svg .node');"
                    " return ['x1', 'y1', 'x2', 'y2'].map((name) => via.getAttribute(name)).join() =="
                    " [dora, bob].flatMap((node) => [node.getAttribute('cx'), node.getAttribute('cy')]).join(); })()"), True)

    def test_the_map_holds_any_number_of_peers(self):
        for count in (1, 2, 12, 13, 40, 127):
            with self.subTest(count=count):
                peers = [sample.peer(f"node-with-a-name-{i}", f"10.14.1.{i}", ["connected", "waiting", "connecting"][i % 3])
                         for i in range(count)]
                page = self.show(sample.document(peers))
                self.keep(page, f"status-{count}")
                self.assertEqual(page.js("document.querySelectorAll('svg .node').length"), count + 1)
                outside = page.js("""(() => {
                    const view = document.querySelector('svg').viewBox.baseVal;
                    return [...document.querySelectorAll('svg circle, svg text')].filter((node) => {
                        const box = node.getBBox();
                        return box.x < 0 || box.y < 0 || box.x + box.width > view.width || box.y + box.height > view.height;
                    }).map((node) => node.outerHTML);
                })()""")
                self.assertEqual(outside, [])
                overlapping = page.js("""(() => {
                    const places = [...document.querySelectorAll('svg .node')].map((node) => [node.cx.baseVal.value, node.cy.baseVal.value]);
                    return places.some(([x, y], i) => places.some(([u, v], j) => i < j && Math.hypot(x - u, y - v) < 4));
                })()""")
                self.assertEqual(overlapping, False)
                self.assert_fits(page)

    def test_text_from_elsewhere_stays_text(self):
        def everywhere(value, text):
            """The document with `text` for each of its strings."""
            if isinstance(value, dict):
                return {key: everywhere(item, text) for key, item in value.items()}
            if isinstance(value, list):
                return [everywhere(item, text) for item in value]
            return text if isinstance(value, str) else value

        for text in HOSTILE:
            with self.subTest(text=text):
                document = everywhere(sample.home(), text)
                # A mediator that is found, and drawn, as well.
                document["peers"][3].update(state="connecting", name="other")
                self.router.status = {"meshes": {text: document, text + "2": {"error": text}}}
                page = self.open()
                self.assert_harmless(page)
                self.assertEqual(page.js("document.querySelector('.wgautomesh h3 bdi').textContent"), text)
                shown = page.js("[...document.querySelectorAll('.peers tr[data-key]')].map((row) => row.innerText)")
                self.assertEqual(len(shown), 7)
                # The name, the address, the state, the reason, and all else that is said of a peer.
                for row in shown:
                    self.assertGreaterEqual(row.count(text), 4)
                label = text if len(text) <= 13 else text[:12] + "…"
                self.assertEqual(page.js("[...document.querySelectorAll('svg text')].map((node) => node.textContent)").count(label), 5)
                self.assertEqual(page.js("[...document.querySelectorAll('svg *')].every((node) => /^(line|circle|title|text)$/.test(node.nodeName))"), True)
                self.assertIn(text, page.js(WARNINGS)[-1])
                self.assert_fits(page)

    def test_a_name_cannot_turn_the_text_around_it_about(self):
        document = sample.home()
        document["peers"][0]["name"] = "\u202egnp.exe\u2066\u200f\x1b[2J"
        document["peers"][4]["name"] = "שלום"
        page = self.show(document)
        self.assertIsNone(BIDI.search(page.js("document.getElementById('view').textContent")))
        self.assertIsNone(BIDI.search(page.js("document.getElementById('view').innerHTML")))
        names = page.js("[...document.querySelectorAll('.peers .peer strong > bdi')].map((node) => node.textContent)")
        self.assertIn("\ufffdgnp.exe\ufffd\ufffd\ufffd[2J", names)
        # A name that is written from right to left is left as it is, and keeps that to itself.
        self.assertIn("שלום", names)

    def test_a_long_name_is_cut_and_can_be_read_whole(self):
        for size in ({}, PHONE):
            document = sample.home()
            document["peers"][0]["name"] = "ö" * 500
            document["peers"][1]["name"] = "W" * 64
            document["peers"][4]["reason"]["message"] = "no" * 300
            document["peers"][5]["endpoint"] = "[2001:db8:1234:5678:9abc:def0:1234:5678]:51820"
            page = self.show(document, **size)
            name = "[...document.querySelectorAll('.peers .peer bdi')].find((node) => node.textContent.startsWith('ö'))"
            self.assertEqual(page.js(f"{name}.textContent"), "ö" * 63 + "…")
            self.assertEqual(page.js(f"{name}.title"), "ö" * 500)
            self.assertIn("W" * 64, page.js("document.body.innerText"))
            self.assert_fits(page)

    def test_it_is_refreshed(self):
        page = self.show(sample.home())
        self.assertEqual(page.js("L.poll.queue.map((entry) => entry.interval)"), [5])
        with self.router.lock:
            document = sample.home()
            document["peers"][4].update(state="connected", reason=None, rtt_us=5500, endpoint="203.0.113.6:1")
            self.router.status = {"meshes": {"home": document}}
        page.wait("document.querySelector('.wgautomesh h3').innerText == 'home 5 of 7 connected'")
        row = next(row for row in page.js(ROWS) if row[0].startswith("caravan"))
        self.assertEqual(row[1:4], ["Connected", "203.0.113.6:1", "5.5 ms"])
        # Nothing is piled up.
        self.assertEqual(page.js("document.querySelectorAll('[data-mesh]').length"), 1)

    def test_what_was_shown_stays_while_the_router_does_not_answer(self):
        page = self.show(sample.home())
        with self.router.lock:
            self.router.has_plugin = False
        page.wait("document.querySelector('.alert-message')")
        self.assertEqual(page.js(WARNINGS), [
            "The status cannot be read: RPC call to wgautomesh/status failed with error -32000: Object not found"])
        self.assertEqual(len(page.js(ROWS)), 7)
        with self.router.lock:
            self.router.has_plugin = True
            self.router.status_code = NO_DATA
        page.wait("/No data received/.test(document.querySelector('.alert-message')?.innerText)")
        with self.router.lock:
            self.router.status_code = 0
        page.wait("!document.querySelector('.alert-message')")
        self.assertEqual(len(page.js(ROWS)), 7)

    def test_an_answer_of_another_form_is_not_taken_for_no_mesh(self):
        for answer in ({}, {"meshes": []}, {"meshes": "none"}):
            self.router.status = answer
            page = self.open()
            self.assertEqual(page.js(WARNINGS), ["The status cannot be read: the answer names no meshes"])

    def test_a_session_that_has_ended_is_said_to_have_ended(self):
        page = self.show(sample.home())
        with self.router.lock:
            self.router.alive = False
        page.wait("document.body.classList.contains('modal-overlay-active')")
        self.assertIn("Session expired", page.js("document.querySelector('.modal').innerText"))
        self.assertEqual(page.js("L.poll.active()"), False)
        self.assertEqual(len(page.js(ROWS)), 7)

    def test_looking_on_needs_no_access_to_the_secret(self):
        self.router.groups = {"luci-app-wgautomesh-status": {"read"}}
        self.router.section("wgautomesh", "mesh", "home", interface="wg0", secret="S3CR3T" * 6)
        page = self.show(sample.home())
        self.assertEqual(len(page.js(ROWS)), 7)
        self.assertEqual({name for name, _, _ in self.router.calls}, {"wgautomesh"})
        self.assertFalse(self.router.granted("read", "uci", "wgautomesh"))

    def test_on_a_phone(self):
        for dark in (False, True):
            self.router.dark = dark
            page = self.show(sample.home(), **PHONE)
            self.keep(page, "status-phone-dark" if dark else "status-phone")
            self.assert_fits(page)
            # Large enough to be read; of the map, after it was scaled.
            small = page.js("""[...document.querySelectorAll('.wgautomesh *')].filter((node) => {
                if (![...node.childNodes].some((child) => child.nodeType == 3 && child.data.trim()) || node.closest('style, title')) return false;
                const scale = node.ownerSVGElement ? node.getScreenCTM().a : 1;
                return parseFloat(getComputedStyle(node).fontSize) * scale < 10.5;
            }).map((node) => node.outerHTML)""")
            self.assertEqual(small, [])
            self.assertEqual(page.js("getComputedStyle(document.querySelector('.peers .table-titles')).display"), "none")
            # What stood in the head of the table stands with each figure.
            self.assertEqual(page.js("getComputedStyle(document.querySelector('.peers .rtt:not(.empty)'), '::before').content"), '"Round trip"')

    def test_in_light_and_dark_text_has_the_themes_colour(self):
        for dark in (False, True):
            self.router.dark = dark
            page = self.show(sample.home())
            self.keep(page, "status-dark" if dark else "status-light")
            self.assertEqual(page.js("""(() => {
                const colour = getComputedStyle(document.body).color;
                return [...document.querySelectorAll('.wgautomesh td, .wgautomesh td *, .wgautomesh h3 *')]
                    .every((node) => getComputedStyle(node).color == colour)
                    && [...document.querySelectorAll('svg text')].every((node) => getComputedStyle(node).fill == colour);
            })()"""), True)

    def test_it_is_shown_in_the_users_language(self):
        self.router.translations = {"Connected": "Verbunden", "Port mapping": "Portweiterleitung", "%d of %d connected": "%d von %d verbunden"}
        page = self.show(sample.home())
        self.assertEqual(page.js(ROWS)[3][1], "Verbunden")
        self.assertIn("Portweiterleitung", page.js(FACTS))
        self.assertEqual(page.js("document.querySelector('.wgautomesh h3').innerText"), "home 4 von 7 verbunden")


if __name__ == "__main__":
    unittest.main()
