"""The configuration view in a browser: what becomes of it is what rpcd is asked to do."""
import base64
import copy
import unittest

import sample
from base import BIDI, HOSTILE, PHONE, ViewTest
from browser import by_text

SECRET = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
WARNINGS = "[...document.querySelectorAll('#view .alert-message')].map((node) => node.innerText)"
GRID = """[...document.querySelectorAll('#cbi-wgautomesh-peer tr[data-sid]')].map((row) =>
    [...row.querySelectorAll('td[data-widget]')].map((cell) => cell.textContent))"""
MODAL = "document.querySelector('.modal')"
BUSY = "document.querySelector('.spinning')"


def option(section, name, kind="input"):
    """The control of an option: in the dialogue, if there is one in front."""
    return ("([...document.querySelectorAll('[id=\"cbid.wgautomesh.%s.%s\"] %s')].filter((node) => node.offsetParent).pop())"
            % (section, name, kind))


class Config(ViewTest):
    entry = "admin/vpn/wgautomesh/config"

    def setUp(self):
        super().setUp()
        self.router.section("network", "interface", "lan", proto="static", ipaddr="192.168.1.1")
        self.router.section("network", "interface", "wg0", proto="wireguard", private_key=sample.key("private"))
        self.router.section("network", "interface", "wg1", proto="wireguard", nohostroute="1")
        self.router.section("network", "wireguard_wg0", public_key=sample.key("dora"), description="dora",
                            allowed_ips=["10.20.0.0/16", "10.14.0.2/32"], endpoint_host="203.0.113.9", preshared_key="x")
        self.router.section("wgautomesh", "mesh", "home", enabled="0", interface="wg0", gossip_port="1666", secret=SECRET, future="1")

    def peer(self, name, /, **more):
        return self.router.section("wgautomesh", "peer", **{
            "mesh": "home", "name": name, "public_key": sample.key(name), "address": "10.14.0.3", **more})

    def tab(self, page, title):
        page.click(by_text(".cbi-tabmenu a", title))

    def press(self, page, title, within=""):
        page.click(by_text(f"{within} button", title))
        page.wait(f"!{BUSY}")

    def save(self, page):
        """Saves; what was asked of rpcd by that."""
        before = len(self.router.changes())
        self.press(page, "Save", ".cbi-page-actions")
        self.assertEqual(page.js("document.body.classList.contains('modal-overlay-active')"), False, page.js(f"{MODAL}?.innerText"))
        return self.router.changes()[before:]

    def refused(self, page):
        """Saves, which is not done; why."""
        before = copy.deepcopy(self.router.configs)
        self.press(page, "Save", ".cbi-page-actions")
        page.wait("document.body.classList.contains('modal-overlay-active')")
        self.assertEqual(self.router.configs, before)
        why = page.js(f"{MODAL}.querySelector('em').innerText")
        self.press(page, "Dismiss", ".modal")
        return why

    def test_it_shows_what_is_configured(self):
        self.peer("attic", endpoint=["attic.example:51820", "[2001:db8::3]:51820"])
        self.router.section("wgautomesh", "peer", "garage", mesh="home", public_key=sample.key("garage"), address="fd14::9")
        page = self.open()
        self.keep(page, "config")
        value = lambda name, kind="input": page.js(f"{option('home', name, kind)}.value")
        self.assertEqual([value("interface", "select"), value("gossip_port"), value("secret")], ["wg0", "1666", SECRET])
        self.assertEqual(page.js(f"{option('home', 'enabled')}.checked"), False)
        # Those of another kind are not offered.
        self.assertEqual(page.js(f"[...{option('home', 'interface', 'select')}.options].map((o) => o.value)"), ["wg0", "wg1"])
        self.assertEqual(page.js(GRID), [
            ["home", "attic", sample.key("attic")[:8] + "…", "10.14.0.3", "attic.example:51820, [2001:db8::3]:51820"],
            ["home", "garage", sample.key("garage")[:8] + "…", "fd14::9", "-"],
        ])
        # Not for everybody who looks over the shoulder.
        self.assertEqual(page.js(f"{option('home', 'secret')}.type"), "password")
        self.assertNotIn(SECRET, page.js("document.body.innerText"))

    def test_saving_without_a_change_changes_nothing(self):
        self.peer("attic")
        before = copy.deepcopy(self.router.configs)
        self.save(self.open())
        self.assertEqual(self.router.configs, before)

    def test_what_is_changed_is_saved_and_nothing_else(self):
        page = self.open()
        page.click(option("home", "enabled"))
        page.type(option("home", "gossip_port"), "1777")
        page.choose(option("home", "interface", "select"), "wg1")
        self.tab(page, "Peers")
        page.click(option("home", "peers_from_network"))
        page.click(option("home", "peers_from_interface"))
        self.keep(page, "config-peers")
        self.tab(page, "Reachability")
        page.click(option("home", "lan_discovery"))
        page.type(option("home", "lan_interfaces"), "br-lan")
        page.click(option("home", "lan_interfaces", ".cbi-button-add"))
        page.type(option("home", "lan_interfaces"), "eth*")
        page.type(option("home", "upnp_forward_external_port"), "51820")
        self.keep(page, "config-reachability")
        self.tab(page, "Advanced")
        page.type(option("home", "persist_file"), "/mnt/usb/home.state")
        page.type(option("home", "state_commit"), "600")
        self.keep(page, "config-advanced")
        self.assertEqual(self.save(page), [("set", {"config": "wgautomesh", "section": "home", "values": {
            "enabled": "1", "interface": "wg1", "gossip_port": "1777", "peers_from_network": "0", "peers_from_interface": "1",
            "lan_discovery": "1", "lan_interfaces": ["br-lan", "eth*"], "upnp_forward_external_port": "51820",
            "persist_file": "/mnt/usb/home.state", "state_commit": "600",
        }})])
        # What this version knows nothing of stays.
        self.assertEqual(self.router.configs["wgautomesh"]["home"]["future"], "1")

        # And back: what is as if it were not there is taken out.
        self.tab(page, "Peers")
        page.click(option("home", "peers_from_network"))
        self.tab(page, "Reachability")
        page.click(option("home", "lan_discovery"))
        page.type(option("home", "upnp_forward_external_port"), "")
        done = dict(self.save(page))
        self.assertEqual(set(done["delete"]["options"]),
                         {"peers_from_network", "lan_discovery", "lan_interfaces", "upnp_forward_external_port"})
        self.assertEqual(done["delete"]["section"], "home")

    def test_saved_and_applied(self):
        page = self.open()
        page.type(option("home", "gossip_port"), "1777")
        self.press(page, "Save & Apply", ".cbi-page-actions")
        page.wait("document.body.dataset.applied")
        self.assertEqual(self.router.applied, ["apply_rollback"])
        self.assertEqual(self.router.configs["wgautomesh"]["home"]["gossip_port"], "1777")

    def test_a_secret_is_generated_here(self):
        page = self.open()
        made = set()
        for _ in range(3):
            self.press(page, "Generate secret")
            made.add(page.js(f"{option('home', 'secret')}.value"))
        self.assertEqual(len(made), 3)
        for secret in made:
            self.assertEqual(len(base64.b64decode(secret, validate=True)), 32)
        # It goes nowhere before it is saved.
        self.assertEqual(self.router.changes(), [])
        last = page.js(f"{option('home', 'secret')}.value")
        self.assertEqual(self.save(page), [("set", {"config": "wgautomesh", "section": "home", "values": {"enabled": "0", "secret": last}})])

    def test_the_secret_may_be_in_a_file(self):
        page = self.open()
        page.choose(option("home", "_secret_in", "select"), "file")
        self.assertIsNone(page.js(f"{option('home', 'secret')} ?? null"))
        self.assertIn("File of the secret", self.refused(page))
        page.type(option("home", "secret_file"), "secret")
        self.assertIn("A file, beginning with a slash", self.refused(page))
        page.type(option("home", "secret_file"), "/etc/wgautomesh/secret")
        done = dict(self.save(page))
        self.assertEqual((done["delete"]["section"], set(done["delete"]["options"])), ("home", {"secret"}))
        self.assertEqual(done["set"]["values"]["secret_file"], "/etc/wgautomesh/secret")
        self.assertFalse(any(name.startswith("_") for name in self.router.configs["wgautomesh"]["home"]))
        # As it is when it is opened again.
        page = self.open()
        self.assertEqual(page.js(f"{option('home', '_secret_in', 'select')}.value"), "file")
        self.assertEqual(page.js(f"{option('home', 'secret_file')}.value"), "/etc/wgautomesh/secret")

    def test_the_secret_is_changed_by_two_more_files(self):
        def advanced():
            page = self.open()
            self.tab(page, "Advanced")
            return page

        for name in ["secret_next_file", "secret_previous_file"]:
            page = advanced()
            page.type(option("home", name), "secret")
            self.assertIn("A file, beginning with a slash", self.refused(page))
            page.type(option("home", name), f"/etc/wgautomesh/{name}")
            self.save(page)
            self.assertEqual(self.router.configs["wgautomesh"]["home"][name], f"/etc/wgautomesh/{name}")
            # Empty, it is none at all.
            page = advanced()
            page.type(option("home", name), "")
            self.save(page)
            self.assertNotIn(name, self.router.configs["wgautomesh"]["home"])

    def test_what_cannot_be_right_is_not_saved(self):
        page = self.open()
        for name, good, wrong in [
            ("gossip_port", "1666", ["0", "65536", "-1", "1.5", "mesh", ""]),
            ("secret", SECRET, ["", "password", " " + SECRET, SECRET + " "]),
        ]:
            for text in wrong:
                with self.subTest(name=name, text=text):
                    page.type(option("home", name), text)
                    self.refused(page)
            page.type(option("home", name), good)
        self.tab(page, "Reachability")
        for text in ["0", "70000", "x"]:
            page.type(option("home", "upnp_forward_external_port"), text)
            self.refused(page)
        page.type(option("home", "upnp_forward_external_port"), "")
        self.tab(page, "Advanced")
        for text in ["state", "/etc/wgautomesh/", "/"]:
            page.type(option("home", "persist_file"), text)
            self.refused(page)
        page.type(option("home", "persist_file"), "")
        for text in ["59", "604801", "1h", "60.5"]:
            page.type(option("home", "state_commit"), text)
            self.refused(page)
        page.type(option("home", "state_commit"), "")
        self.save(page)

    def test_a_weak_secret_that_is_there_is_not_in_the_way_of_the_rest(self):
        self.router.configs["wgautomesh"]["home"]["secret"] = "password"
        page = self.open()
        page.type(option("home", "gossip_port"), "1777")
        self.save(page)
        self.assertEqual(self.router.configs["wgautomesh"]["home"]["gossip_port"], "1777")
        page.type(option("home", "secret"), "passwort")
        self.assertIn("can be guessed", self.refused(page))

    def test_two_meshes_cannot_share_an_interface(self):
        self.router.section("wgautomesh", "mesh", "lab", enabled="1", interface="wg1", gossip_port="1667", secret=SECRET)
        page = self.open()
        page.click(option("home", "enabled"))
        page.choose(option("home", "interface", "select"), "wg1")
        self.assertIn("This is also the interface of", self.refused(page))
        # One that is switched off is in nobody's way.
        page.click(option("home", "enabled"))
        self.save(page)
        self.assertEqual(self.router.configs["wgautomesh"]["home"]["interface"], "wg1")

    def test_a_mesh_is_added_and_removed(self):
        page = self.open()
        page.js("document.querySelector('.cbi-section-create-name').focus()")
        page.call("Input.insertText", text="lab")
        page.js("document.querySelector('.cbi-section-create-name').blur()")
        self.press(page, "Add mesh")
        added = ("add", {"config": "wgautomesh", "type": "mesh", "name": "lab", "values": {}})
        self.assertIn(added, self.router.changes())
        self.assertIn("LAB", page.js("document.body.innerText"))
        # Without a secret it is not complete.
        page.choose(option("lab", "interface", "select"), "wg1")
        self.assertIn("Secret", self.refused(page))
        page.click("([...document.querySelectorAll('[id=\"cbi-wgautomesh-lab-_generate\"] button')][0])")
        page.wait(f"!{BUSY}")
        self.save(page)
        lab = self.router.configs["wgautomesh"]["lab"]
        self.assertEqual((lab["interface"], lab["gossip_port"], lab["enabled"]), ("wg1", "1666", "1"))
        page.click("(document.querySelector('.cbi-section-remove button[data-section-id=\"lab\"]'))")
        page.wait(f"!{BUSY}")
        self.assertNotIn("lab", self.router.configs["wgautomesh"])

    def test_an_interface_that_netifd_does_not_know_stays(self):
        self.router.configs["wgautomesh"]["home"]["interface"] = "wgx"
        page = self.open()
        self.assertEqual(page.js(f"{option('home', 'interface', 'select')}.value"), "wgx")
        self.assertIn("wgx is not among the interfaces of this router.", page.js(WARNINGS)[0])
        self.save(page)
        self.assertEqual(self.router.configs["wgautomesh"]["home"]["interface"], "wgx")

    def test_advice_is_given_where_netifd_gets_in_the_way(self):
        page = self.open()
        hosts, route = page.js(WARNINGS)
        self.assertIn("endpoint host in the interface's settings: dora.", hosts)
        self.assertIn("Set No Host Routes", route)
        # It is about the interface that is chosen.
        page.choose(option("home", "interface", "select"), "wg1")
        self.assertEqual(page.js(WARNINGS), [])
        page.choose(option("home", "interface", "select"), "wg0")
        self.assertEqual(len(page.js(WARNINGS)), 2)
        self.router.configs["network"]["wg0"]["nohostroute"] = "1"
        self.assertEqual(len(self.open().js(WARNINGS)), 1)
        for section in self.router.configs["network"].values():
            section.pop("endpoint_host", None)
        self.router.configs["network"]["wg0"]["nohostroute"] = "0"
        self.assertEqual(self.open().js(WARNINGS), [])

    def test_peers_of_the_interface_are_copied(self):
        network = lambda **options: self.router.section("network", "wireguard_wg0", **options)
        network(public_key=sample.key("attic"), description="attic", allowed_ips=["fd14::3/128"], endpoint_host="2001:db8::3",
                endpoint_port="1234")
        network(public_key=sample.key("bare"), description='has "quotes"', allowed_ips=["10.14.0.4"])
        network(public_key=sample.key("site"), description="site", allowed_ips=["10.30.0.0/16"])
        network(public_key="nonsense", description="broken", allowed_ips=["10.14.0.5/32"])
        network(public_key=sample.key("off"), allowed_ips=["10.14.0.6/32"], disabled="1")
        network(public_key=sample.key("known"), description="known", allowed_ips=["10.14.0.7/32"])
        self.router.section("network", "wireguard_wg1", public_key=sample.key("other"), allowed_ips=["10.15.0.2/32"])
        self.peer("known", address="10.14.0.7")
        page = self.open()
        self.tab(page, "Peers")
        self.press(page, "Copy peers")
        added = [args for method, args in self.router.changes() if method == "add"]
        self.assertEqual([(args["config"], args["type"], args["values"]) for args in added], [
            ("wgautomesh", "peer", {"mesh": "home", "name": "dora", "public_key": sample.key("dora"), "address": "10.14.0.2",
                                    "endpoint": ["203.0.113.9:51820"]}),
            ("wgautomesh", "peer", {"mesh": "home", "name": "attic", "public_key": sample.key("attic"), "address": "fd14::3",
                                    "endpoint": ["[2001:db8::3]:1234"]}),
            ("wgautomesh", "peer", {"mesh": "home", "public_key": sample.key("bare"), "address": "10.14.0.4"}),
        ])
        said = page.js("document.querySelector('.alert-message.info').innerText")
        self.assertIn("3 peers copied.", said)
        self.assertIn("Left out, as they have no right key or no address of their own in the mesh: site, broken", said)
        self.assertEqual([row[1] for row in page.js(GRID)], ["known", "dora", "attic", "-"])
        # Nothing of the interface itself is touched, and a second time there is nothing to do.
        self.assertFalse(any(args["config"] == "network" for _, args in self.router.changes()))
        self.tab(page, "Peers")
        self.press(page, "Copy peers")
        self.assertEqual(len([1 for method, _ in self.router.changes() if method == "add"]), 3)

    def test_nothing_is_copied_while_something_else_is_wrong(self):
        page = self.open()
        page.type(option("home", "gossip_port"), "0")
        self.tab(page, "Peers")
        self.press(page, "Copy peers")
        page.wait("document.body.classList.contains('modal-overlay-active')")
        self.assertIn("Gossip port", page.js(f"{MODAL}.innerText"))
        self.press(page, "Dismiss", ".modal")
        self.tab(page, "General")
        page.type(option("home", "gossip_port"), "1666")
        self.save(page)
        self.assertEqual(page.js(GRID), [])

    def test_a_peer_is_added_changed_and_removed(self):
        page = self.open()
        self.press(page, "Add peer")
        page.wait("document.body.classList.contains('modal-overlay-active')")
        sid = page.js(f"{MODAL}.querySelector('[data-section-id]').dataset.sectionId")
        fill = lambda name, text: page.type(option(sid, name), text)
        fill("name", "attic")
        fill("public_key", sample.key("attic"))
        fill("address", "10.14.0.3")
        fill("endpoint", "attic.example:51820")
        page.click(option(sid, "endpoint", ".cbi-button-add"))
        fill("endpoint", "[2001:db8::3]:51820")
        self.keep(page, "config-peer")
        self.press(page, "Save", ".modal")
        page.wait("!document.body.classList.contains('modal-overlay-active')")
        self.assertIn(("add", {"config": "wgautomesh", "type": "peer", "values": {
            "mesh": "home", "name": "attic", "public_key": sample.key("attic"), "address": "10.14.0.3",
            "endpoint": ["attic.example:51820", "[2001:db8::3]:51820"]}}), self.router.changes())

        self.press(page, "Edit")
        page.wait("document.body.classList.contains('modal-overlay-active')")
        sid = page.js(f"{MODAL}.querySelector('[data-section-id]').dataset.sectionId")
        page.type(option(sid, "name"), "loft")
        self.press(page, "Save", ".modal")
        self.assertEqual(self.router.changes()[-1], ("set", {"config": "wgautomesh", "section": sid, "values": {"name": "loft"}}))
        self.assertEqual(page.js(GRID)[0][1], "loft")

        page.click(option(sid, "enabled"))
        self.save(page)
        self.assertEqual(self.router.configs["wgautomesh"][sid]["enabled"], "0")
        page.click("(document.querySelector('#cbi-wgautomesh-peer .cbi-button-remove'))")
        page.wait(f"!{BUSY}")
        self.assertNotIn(sid, self.router.configs["wgautomesh"])

    def test_a_wrong_peer_is_not_saved(self):
        self.peer("attic")
        sid = self.peer("bob", address="10.14.0.5")
        page = self.open()
        page.click(f"(document.querySelector('[data-sid=\"{sid}\"] .cbi-button-edit'))")
        page.wait("document.body.classList.contains('modal-overlay-active')")
        key = sample.key("bob")
        for name, good, wrong in [
            # The last one is not what base64 makes of 32 bytes.
            ("public_key", key, ["", "bob", key[:-1], "-" + key[1:], sample.key("attic"), key[:42] + "B="]),
            ("address", "10.14.0.5", ["10.14.0", "10.14.0.0/24", "bob.example", "fd14::g", ""]),
            ("name", "bob", ["b" * 64, 'bo"b', "bo\\b", "b\u202eob", "bo\u0007b"]),
            ("endpoint", "", ["203.0.113.7", "2001:db8::7:51820", "[2001:db8::7]", "bob.example:70000", "ftp://bob"]),
        ]:
            for text in wrong:
                with self.subTest(name=name, text=text):
                    page.type(option(sid, name), text)
                    self.assertTrue(page.js(f"{option(sid, name)}.classList.contains('cbi-input-invalid')"))
                    if name != "endpoint":
                        before = len(self.router.changes())
                        self.press(page, "Save", ".modal")
                        self.assertEqual(self.router.changes()[before:], [])
                    else:
                        page.click(option(sid, name, ".cbi-button-add"))
                        self.assertEqual(page.js(f"{option(sid, name)}.closest('.cbi-dynlist').querySelectorAll('.item').length"), 0)
            page.type(option(sid, name), good)
        # An address need not be given where the interface's settings have it.
        page.type(option(sid, "public_key"), sample.key("dora"))
        page.type(option(sid, "address"), "")
        self.press(page, "Save", ".modal")
        page.wait("!document.body.classList.contains('modal-overlay-active')")
        self.assertNotIn("address", self.router.configs["wgautomesh"][sid])

    def test_text_from_elsewhere_stays_text(self):
        names = HOSTILE + ["\u202egnp.exe"]
        for text in names:
            self.peer("x", name=text, public_key=text, address=text, endpoint=[text])
            self.router.section("network", "wireguard_wg0", public_key=text + "2", description=text, allowed_ips=[text], endpoint_host=text)
        page = self.open()
        self.assert_harmless(page)
        self.assertEqual([row[1] for row in page.js(GRID)], names)
        self.assertIn(HOSTILE[0], page.js(WARNINGS)[0])
        self.tab(page, "Peers")
        self.press(page, "Copy peers")
        self.assert_harmless(page)
        self.assertIn(HOSTILE[0], page.js("document.querySelector('.alert-message.info').innerText"))
        for index in range(len(names)):
            page.click(f"(document.querySelectorAll('#cbi-wgautomesh-peer .cbi-button-edit')[{index}])")
            page.wait("document.body.classList.contains('modal-overlay-active')")
            self.assert_harmless(page)
            self.assertEqual(page.js(f"{MODAL}.querySelector('h4').innerText"), "Peer")
            self.press(page, "Dismiss", ".modal")
        self.assertTrue(BIDI.search(page.js("document.querySelector('#cbi-wgautomesh-peer').textContent")))
        self.assertEqual(page.js("[...document.querySelectorAll('#cbi-wgautomesh-peer td[data-name=\"name\"]')]"
                                 ".every((cell) => cell.firstChild.nodeName == 'BDI')"), True)

    def test_who_may_only_read_can_change_nothing(self):
        self.peer("attic")
        self.router.groups = {"luci-app-wgautomesh": {"read"}}
        page = self.open()
        self.assertEqual(page.js("[...document.querySelectorAll('#view input:not([type=hidden]), #view select')].every((n) => n.disabled)"), True)
        self.assertEqual(page.js("[...document.querySelectorAll('.cbi-page-actions button')].every((n) => n.disabled)"), True)

    def test_an_empty_configuration_can_be_filled(self):
        self.router.configs = {"wgautomesh": {}, "network": {}}
        page = self.open()
        page.js("document.querySelector('.cbi-section-create-name').focus()")
        page.call("Input.insertText", text="home")
        page.js("document.querySelector('.cbi-section-create-name').blur()")
        self.press(page, "Add mesh")
        self.assertIn("There is no WireGuard interface yet", page.js("document.body.innerText"))
        self.assertIn("home", self.router.configs["wgautomesh"])

    def test_on_a_phone(self):
        self.peer("attic", endpoint=["a-rather-long-name-of-a-host.at-some-provider.example:51820"])
        for dark in (False, True):
            self.router.dark = dark
            page = self.open(**PHONE)
            self.keep(page, "config-phone-dark" if dark else "config-phone")
            self.assert_fits(page)
            for title in ("Peers", "Reachability", "Advanced"):
                self.tab(page, title)
                self.assert_fits(page)
            self.press(page, "Edit")
            page.wait("document.body.classList.contains('modal-overlay-active')")
            self.assert_fits(page)


if __name__ == "__main__":
    unittest.main()
